"""Checkpoints in MindSpore's own format: written whole, with a checksum; checked before MindSpore reads them.

checkpoint.py writes and loads; checkpoint_format.py refuses what MindSpore 2.10 would read beyond its memory.
"""
