"""From a corpus on disk to the lists that training reads: what prepare.py of every model shares.

corpus.py opens every file once before it is listed, speakers.py knows who speaks in it, lists.py reads the lists again,
pack.py writes MindRecord shards, mini.py makes the synthetic corpus of demo and tests; settings.py has the flags.
"""
