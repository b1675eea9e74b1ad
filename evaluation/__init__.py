"""What needs only tables and runs: measures of rankings, tests between them, TREC files.

Rankers measure themselves by `measures` and `yardstick`, and read and write runs by `trec_run` and
`given_runs`; `significance` tells which differences are shown, and `tables` prints them.
"""

OPEN = ("given_runs", "measures", "significance", "tables", "trec_run", "yardstick")
