"""The cross-encoder and all that trains, scores and measures it.

The jobs are `train`, `evaluate` and `rerank`; `mixes` says how clicks and annotations are weighed,
`settings` how a ranker is trained. Other rooms may use these and, to search and to report, what
`training` leaves in its folder.
"""

OPEN = (
    "data.store",
    "demand",
    "evaluate",
    "fit",
    "losses.click_objectives",
    "losses.hybrid",
    "mixes",
    "mixes.encoding",
    "mixes.pictures",
    "mixes.ranges",
    "preparation",
    "prepared",
    "rerank",
    "scoring.pool",
    "settings",
    "settings_checks",
    "train",
    "train_each",
    "training.alone",
    "training.checkpoints",
    "training.learner",
    "training.stops",
    "training.storage",
    "training.validation",
)
