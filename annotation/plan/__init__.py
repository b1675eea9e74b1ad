"""What a job of annotation will do: which pairs (`selection`), in which parts, at what cost.

Only `annotate`, and what checks its settings, uses this room.
"""
