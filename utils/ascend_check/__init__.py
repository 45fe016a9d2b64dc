"""Whether an Ascend can compile the models' graphs, found out on a CPU: python -m utils.ascend_check --help."""
