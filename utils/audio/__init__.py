"""Recordings: files of any format read, packed, changed."""
