"""The search of the best mix, with Optuna and Ray Tune.

The job is `tune`: `study` is what lasts of a search, `space` what it chooses among, `search` runs
trials, `trial` is what one does, `finalists` says whether something better was found, and `best`
reads what was. The job `analyse` makes a page of it, of the parts in `analysis`.
"""

OPEN = ("analyse", "analysis.reading", "analysis.sections", "best", "space", "tune")
