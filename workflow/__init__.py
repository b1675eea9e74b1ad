"""All jobs in their order, and the report on what they made.

`pipeline` is all jobs once; `reproduce` is a study of many trainings over several seeds, of the
`conditions`; `sensitivity` is one of a simulated world whose settings change. Only the command line
is above this room, and uses all three.
"""

OPEN = ("pipeline", "reproduce", "sensitivity")
