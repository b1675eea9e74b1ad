"""What needs only tables and runs: measures of rankings, TREC files, what validation measures by.

Rankers measure themselves by `measures` and `yardstick`, and read and write runs by `trec_run`.
"""

OPEN = ("measures", "trec_run", "yardstick")
