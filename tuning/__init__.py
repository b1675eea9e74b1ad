"""The search of the best mix, with Ray Tune.

The job is `tune`; `analysis` draws what was found, also for the report.
"""

OPEN = ("analysis", "tune")
