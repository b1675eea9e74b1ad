"""All jobs in their order, the report on what they made, and what to use on a log.

`pipeline` is all jobs once; `reproduce` is a study of many trainings over several seeds, of the
`conditions`; `sensitivity` is one of a simulated world whose settings change; `advise` looks at a
log before. Only the command line is above this room, and uses all four.
"""

OPEN = ("advise", "pipeline", "reproduce", "sensitivity")
