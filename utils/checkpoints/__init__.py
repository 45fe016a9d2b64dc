"""Checkpoints in MindSpore's own format."""
