"""What needs only tables and runs: measures of rankings, tests between them, TREC files.

Rankers measure themselves by `measures` and `yardstick`; runs are read and written by
`trec_reading`, `trec_writing` and `given_runs`; `means` are over groups of queries, `significance`
tells which differences are shown, `tables` prints them, and `report` makes a page of them.
"""

OPEN = (
    "diagnosis",
    "given_runs",
    "means",
    "measured_parts",
    "measures",
    "measuring",
    "report.ablation",
    "report.cells",
    "report.diagnosis",
    "report.evaluated",
    "report.exports",
    "report.figures",
    "report.headline",
    "report.page",
    "report.parts",
    "report.queries",
    "report.sensitivity",
    "report.settings",
    "report.signals",
    "report.trade_offs",
    "report.training",
    "significance",
    "tables",
    "traffic",
    "trec_reading",
    "trec_writing",
    "yardstick",
)
