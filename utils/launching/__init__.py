"""The processes that train together: who they are, where they meet, and a watch that ends all when one fails.

rank_table.py says which device has which rank, cluster.py where MindSpore's scheduler listens, jobs.py what each
process gets in its environment, watch.py starts them and waits. The commands are launch.py and hccl_tools.py above.
"""
