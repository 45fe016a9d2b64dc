"""Graphs for inference: exported, compared with their network, rewritten for a runtime, run by the C++ runner.

graph.py goes through these steps; graph_check.py compares; lite2.py rewrites for MindSpore Lite 2.0, gears.py are the
lengths an Ascend compiles for; runner.py has the files that pass to and from ascend310_infer.
"""
