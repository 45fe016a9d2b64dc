"""Whether an Ascend can compile every graph of the models, found out on a CPU.

MindSpore's Ascend plugin compiles in processes that launch nothing, with stand-ins for CANN's libraries (stubs.py); its
log says which kernel each operator gets (log.py). runs.py starts these processes, each a worker.py; report.py draws the
table. A model names its graphs in src/ascend_graphs.py, for graphs.py. The command: python -m utils.ascend_check.
"""
