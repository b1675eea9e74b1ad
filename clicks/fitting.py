"""The job that turns a collection's sessions into click labels."""

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from clicks.cascade import CascadeModel, DependentClickModel
from clicks.click_chain import ClickChainModel
from clicks.click_labels import inverse_propensity_labels, relevance_labels
from clicks.click_model import ClickModel
from clicks.click_through_rates import DocumentCTR, GlobalCTR, RankCTR
from clicks.compaction import distinct_sessions
from clicks.counting import count_sessions
from clicks.dynamic_bayesian import DynamicBayesianNetwork, SimplifiedDynamicBayesianNetwork
from clicks.position_based import PositionBasedModel
from clicks.propensities import (
    LEAST_OVERLAP,
    PropensityMethod,
    estimate_propensities,
    plot_propensities,
)
from clicks.user_browsing import UserBrowsingModel
from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output
from corpus.schemas import empty_table
from corpus.tables import read_table, table_path, write_parquet, write_table

Labels = Literal[
    "ipw",
    "DocumentCTR",
    "PositionBasedModel",
    "CascadeModel",
    "DependentClickModel",
    "SimplifiedDynamicBayesianNetwork",
    "DynamicBayesianNetwork",
    "UserBrowsingModel",
    "ClickChainModel",
]
CLICK_MODELS: dict[str, type[ClickModel]] = {
    model.__name__: model
    for model in (
        GlobalCTR,
        RankCTR,
        DocumentCTR,
        PositionBasedModel,
        CascadeModel,
        DependentClickModel,
        SimplifiedDynamicBayesianNetwork,
        DynamicBayesianNetwork,
        UserBrowsingModel,
        ClickChainModel,
    )
}


def fit_clicks(
    collection: Path,
    output: Path,
    labels: Labels = "ipw",
    propensity: PropensityMethod = "em",
    context: str | None = None,
    max_weight: float = 20.0,
    resamples: int = 20,
    resume: bool = False,
) -> None:
    """Learns how much each position is examined, and writes click labels freed of that bias.

    Estimates propensities from the sessions of a collection (estimate_propensities) and weights
    clicks by their inverse (inverse_propensity_labels), or fits a click model and takes what it
    says of a document's relevance.

    Args:
        collection: the folder of the collection; it must hold sessions.
        output: the folder to write: click_labels.parquet (query_id, doc_id, relevance,
            impressions, clicks, model), propensities.parquet and propensities.svg; of a click
            model, also the folder click_model.
        labels: "ipw", clicks weighted by inverse propensity, or the name of a click model, whose
            relevance is the label.
        propensity: how propensities are estimated: em (a position-based model), all_pairs,
            adjacent_chain or pivot_one (intervention harvesting).
        context: a column of the sessions, such as the device, that each has propensities of
            its own by.
        max_weight: the most that one click can weigh, at least 1. With 20, positions examined
            less than 1 time in 20 count as examined 1 time in 20.
        resamples: of queries, for the intervals of the propensities; 0 for none.
        resume: go on in an output folder that this job, with the same settings, has begun.

    Raises:
        InputError: the collection breaks its schema or has no sessions, a setting is out of
            range, a propensity cannot be known from the log, or the output folder is taken.
    """
    if max_weight < 1:
        raise InputError(f"max_weight must be at least 1, not {max_weight}")
    if resamples < 0:
        raise InputError(f"resamples must be at least 0, not {resamples}")
    path = table_path(collection, "sessions")
    sessions = _read_sessions(collection, path, context)
    if sessions.num_rows == 0:
        raise InputError(
            f"{path}: there are no sessions to learn from; add the click log to the collection, or "
            "simulate clicks when preparing it"
        )
    if context is not None and context not in sessions.column_names:
        raise InputError(f"{path}: there is no column {context!r} to tell contexts by")
    settings = {
        "collection": collection,
        "labels": labels,
        "propensity": propensity,
        "context": context,
        "max_weight": max_weight,
        "resamples": resamples,
    }
    if not begin_output(output, "fit_clicks", settings, resume):
        print(f"{output}: already finished")
        return
    parts = _by_context(sessions, context)
    tables = [estimate_propensities(part, propensity, resamples) for part in parts.values()]
    propensities = pa.concat_tables(
        [
            table
            if context is None
            else table.append_column("context", pa.repeat(name, len(table)))
            for name, table in zip(parts, tables, strict=True)
        ]
    )
    write_parquet(propensities, output / "propensities.parquet")
    plot_propensities(propensities).savefig(output / "propensities.svg")
    for name, table in zip(parts, tables, strict=True):
        _print_propensities(name, table)
    if labels == "ipw":
        made = inverse_propensity_labels(
            [
                (part, _known(table, path))
                for part, table in zip(parts.values(), tables, strict=True)
            ],
            max_weight,
            propensity,
        )
    else:
        model = CLICK_MODELS[labels]().fit(sessions)
        model.save(output / "click_model")
        print(f"{labels}: perplexity {model.perplexity(sessions):.4f} on its own log")
        made = relevance_labels(model, sessions)
    write_table(made, output, "click_labels")
    finish_output(output)
    distinct = distinct_sessions(sessions)
    count = pc.sum(distinct["sessions"]).as_py()
    print(
        f"{count:,} sessions, {distinct.num_rows:,} distinct "
        f"({count / distinct.num_rows:.1f} of a kind), {made.num_rows:,} click labels"
    )


def _read_sessions(collection: Path, path: Path, context: str | None) -> pa.Table:
    """The sessions; of a log in parts, what is distinct in it, counted over all nodes."""
    if path.is_dir():
        return count_sessions(path, context)
    return read_table(collection, "sessions") if path.exists() else empty_table("sessions")


def _by_context(sessions: pa.Table, context: str | None) -> dict[str, pa.Table]:
    """The sessions of each context, by its name; of all, where there is no context."""
    if context is None:
        return {"all": sessions}
    values = pc.unique(sessions[context]).sort()
    return {str(value): sessions.filter(pc.equal(sessions[context], value)) for value in values}


def _known(propensities: pa.Table, path: Path) -> NDArray[np.float64]:
    unknown = propensities.filter(pc.is_null(propensities["propensity"]))
    if unknown.num_rows:
        positions = ", ".join(map(str, unknown["position"].to_pylist()))
        raise InputError(
            f"{path}: too few pairs are shown both at position {positions} and at others to tell "
            "its propensity; take propensity em, or a log in which documents change places"
        )
    # Estimates from few pairs can be above that of the first position, which is always examined.
    return np.minimum(propensities["propensity"].to_numpy(), 1.0)


def _print_propensities(context: str, propensities: pa.Table) -> None:
    shown = [
        "unknown" if row["propensity"] is None else f"{row['propensity']:.2f}"
        for row in propensities.to_pylist()
    ]
    linked = propensities["linked_pairs"].to_pylist()
    print(f"propensities of {context} sessions: {' '.join(shown)}")
    if min(linked) < LEAST_OVERLAP:
        few = [str(position) for position, pairs in enumerate(linked, 1) if pairs < LEAST_OVERLAP]
        print(
            f"  at position {', '.join(few)} fewer than {LEAST_OVERLAP} pairs are also shown "
            "elsewhere: what is said of it rests on the model, not on the log"
        )
