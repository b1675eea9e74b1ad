"""What is given: the tables of a collection, their checks, candidates, splits and frequencies.

The job is `prepare`; `sources` are what it takes: formats (`readers`), or a world (`simulation`).
Other rooms read and write by `tables` and `output_folder`, and refuse by `errors`.
"""

OPEN = (
    "by_query",
    "documents",
    "errors",
    "free_memory",
    "frequency",
    "groups",
    "local_copies",
    "mapped_arrays",
    "mapped_tables",
    "names",
    "output_folder",
    "places",
    "prepare",
    "progress",
    "protocol",
    "query_parts",
    "row_groups",
    "schemas",
    "sources",
    "store_faults",
    "shown_text",
    "simulation",
    "simulation.judge",
    "simulation.traffic",
    "simulation.world",
    "table_checks",
    "tables",
    "text_lines",
    "texts",
)
