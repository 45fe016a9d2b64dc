"""Corpora on disk, and the lists that prepare.py makes of them."""
