"""The Ray cluster that a job runs on: joined or started, its GPUs, and how tables travel in it.

`connection` joins a cluster or starts one, `gpus` tells whether it has GPUs, `metrics` shows what
jobs do, and `blocks` makes of a table one row of Ray Data and back. Other rooms may use all four.
"""

OPEN = ("blocks", "connection", "gpus", "metrics")
