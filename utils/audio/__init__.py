"""Recordings as arrays: read from files and shards by seeking, augmented, streamed second by second.

Begin with audio_file.py; packed.py has the shards, augment.py noise, rooms and masks, recording.py hours in little
memory. A recording that is missing, broken, silent or cut is an AudioError that names it. Workers that make batches
import this room, so nothing in it imports MindSpore.
"""
