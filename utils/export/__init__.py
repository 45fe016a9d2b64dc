"""Graphs for inference: written, checked, and run by the C++ runner."""
