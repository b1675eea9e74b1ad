"""The search of the best mix, with Ray Tune.

The job is `tune`; `analyse` makes a page of what was found, and `analysis` its parts, also for the
pipeline's report.
"""

OPEN = ("analyse", "analysis.reading", "analysis.sections", "plotted_trials", "tune")
