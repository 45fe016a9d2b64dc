"""Recordings as arrays: read from files and shards by seeking, augmented, streamed second by second.

Begin with audio_file.py; recording.py has hours in little memory, packed.py the shards, augment.py noise, rooms and
masks. Both read through stream.py, which opens any format with one of decoders.py after a look at containers.py. A
recording that is missing, broken, silent or cut is an AudioError that names it. Workers that make batches import this
room, so nothing in it imports MindSpore.
"""
