"""All jobs in their order, the report on what they made, and what to use on a log.

`pipeline` is all jobs once; `reproduce` is a study of many trainings over several seeds, of the
`conditions`; `sensitivity` is one of a simulated world whose settings change, `ablate` one of a
method whose parts do; `advise` looks at a log before. Only the command line is above this room.
"""

OPEN = ("ablate", "advise", "pipeline", "reproduce", "sensitivity")
