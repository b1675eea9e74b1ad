"""Compiles what the first click log would wait for: python -m clicks.compile_ahead.

Numba compiles a function when it is first called, and keeps it beside the module: of those that a
pipeline needs that takes half a minute. The set-up calls them on a small log.
"""

import io
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from clicks.fit_clicks import fit_clicks
from corpus.prepare import prepare
from corpus.schemas import SCHEMAS
from corpus.sources import SimulatedWorld
from corpus.tables import read_table, write_table


def compile_ahead() -> None:
    """Fits clicks in the three ways of a pipeline: weighted, by a model, and fused with grades."""
    with TemporaryDirectory() as scratch, redirect_stdout(io.StringIO()):
        folder = Path(scratch)
        collection, annotations = folder / "collection", folder / "annotations"
        prepare(collection, SimulatedWorld(40, 60, 200))
        write_table(_grades(read_table(collection, "judgments")), annotations, "annotations")
        fit_clicks(collection, folder / "weighted", resamples=0)
        fit_clicks(
            collection,
            folder / "shrunk",
            labels="PositionBasedModel",
            beside=annotations,
            resamples=0,
        )
        fit_clicks(collection, folder / "fused", prior=annotations, resamples=0)


def _grades(judgments: pa.Table) -> pa.Table:
    """Annotations that say what the judgments do."""
    told = {name: judgments[name] for name in ("query_id", "doc_id", "grade")}
    told |= {"expected_grade": judgments["grade"].cast(pa.float64())}
    same = {"annotator": "judgments", "strategy": "pointwise", "prompt_id": "", "confidence": 1.0}
    told |= {name: pa.repeat(value, len(judgments)) for name, value in same.items()}
    told["error"] = pa.nulls(len(judgments), pa.string())
    return pa.table({name: told[name] for name in SCHEMAS["annotations"].names if name in told})


if __name__ == "__main__":
    compile_ahead()
