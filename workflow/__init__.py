"""All jobs in their order, and the report on what they made.

`pipeline` is all jobs once; `reproduce` is a study of many trainings over several seeds, of the
`conditions`. Only the command line is above this room, and uses both.
"""

OPEN = ("pipeline", "reproduce")
