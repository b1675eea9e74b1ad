"""All jobs in their order, and the report on what they made.

Only the command line is above this room, and uses `pipeline`.
"""

OPEN = ("pipeline",)
