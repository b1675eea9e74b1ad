"""The job that turns a collection's sessions into click labels."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from clicks.click_labels import inverse_propensity_labels
from clicks.compaction import compact_sessions, list_results
from clicks.position_based import PositionBasedModel
from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output
from corpus.tables import read_collection, table_path, write_parquet, write_table


def fit_clicks(
    collection: Path,
    output: Path,
    max_weight: float = 20.0,
    max_iterations: int = 500,
    tolerance: float = 1e-6,
    resume: bool = False,
) -> None:
    """Learns how much each position is examined, and writes click labels freed of that bias.

    Fits a position-based click model (PositionBasedModel) to the sessions of a collection, and
    weights the clicks by the inverse of its propensities (inverse_propensity_labels).

    Args:
        collection: the folder of the collection; it must hold sessions.
        output: the folder to write: click_labels.parquet (query_id, doc_id, relevance,
            impressions, clicks, model) and propensities.parquet (position, propensity,
            impressions, clicks).
        max_weight: the most that one click can weigh, at least 1. With 20, positions examined
            less than 1 time in 20 count as examined 1 time in 20.
        max_iterations: the most iterations of EM.
        tolerance: stop EM once an iteration gains less than this in log-likelihood, in nats a
            session.
        resume: go on in an output folder that this job, with the same settings, has begun.

    Raises:
        InputError: the collection breaks its schema or has no sessions, a setting is out of
            range, or the output folder is taken.
    """
    if max_weight < 1:
        raise InputError(f"max_weight must be at least 1, not {max_weight}")
    sessions = read_collection(collection).sessions
    if sessions.num_rows == 0:
        raise InputError(
            f"{table_path(collection, 'sessions')}: there are no sessions to learn from; add the "
            "click log to the collection, or simulate clicks when preparing it"
        )
    settings = {
        "collection": collection,
        "max_weight": max_weight,
        "max_iterations": max_iterations,
        "tolerance": tolerance,
    }
    model = PositionBasedModel(max_iterations, tolerance)
    if not begin_output(output, "fit_clicks", settings, resume):
        print(f"{output}: already finished")
        return
    model.fit(sessions)
    pages = compact_sessions(sessions)
    labels = inverse_propensity_labels(pages, model.examination_, max_weight)
    write_table(labels, output, "click_labels")
    write_parquet(_propensity_table(model, pages), output / "propensities.parquet")
    finish_output(output)

    iterations = f"{model.iterations_} iterations"
    print(
        f"{sessions.num_rows:,} sessions on {pages.num_rows:,} distinct pages "
        f"({sessions.num_rows / pages.num_rows:.1f} to a page), {labels.num_rows:,} click labels"
    )
    print(
        f"position-based model: {iterations if model.converged_ else iterations + ', unfinished'}, "
        f"perplexity {model.perplexity(sessions):.4f} on its own log, propensities "
        + " ".join(f"{propensity:.2f}" for propensity in model.examination_)
    )


def _propensity_table(model: PositionBasedModel, pages: pa.Table) -> pa.Table:
    results = list_results(pages)
    position = results["position"].to_numpy()
    impressions, clicks = (
        np.bincount(position, weights=results[name].to_numpy())[1:].astype(np.int64)
        for name in ("impressions", "clicks")
    )
    return pa.table(
        {
            "position": np.arange(1, len(model.examination_) + 1),
            "propensity": model.examination_,
            "impressions": impressions,
            "clicks": clicks,
        }
    )
