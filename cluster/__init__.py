"""The Ray cluster that a job runs on: joined or started, what it has, and how tables travel in it.

`connection` joins a cluster or starts one, `resources` tells whether it has room for what a job
asks for, `reach` whether its nodes see the job's folders, `metrics` shows what jobs do, and
`blocks` makes of a table one row of Ray Data and back. Other rooms may use all five.
"""

OPEN = ("blocks", "connection", "metrics", "reach", "resources")
