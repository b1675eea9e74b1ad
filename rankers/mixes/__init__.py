"""How much clicks count against annotations: the mixes, and how one is written into a file.

It needs no other part of rankers; all of it may be used from anywhere in the room.
"""
