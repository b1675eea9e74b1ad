"""The job that turns a collection's sessions into click labels."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clicks.fit_messages import print_model, print_overlap, print_propensities
from clicks.inference.graded_prior import GradedPrior
from clicks.judge import fingerprint, read_graded_queries, read_grades, tabulate_prior
from clicks.labels import (
    average_labels,
    model_labels,
    replace_ungraded,
    weighted_labels,
    write_labels,
)
from clicks.log.contexts import check_context, count_rows
from clicks.log.grades import add_grades
from clicks.log.log_parts import CountedLog, encode_part, join_parts
from clicks.log.supervised import withheld_queries
from clicks.models.base import ClickModel
from clicks.models.cascade import CascadeModel, DependentClickModel
from clicks.models.ccm import ClickChainModel
from clicks.models.ctr import DocumentCTR, GlobalCTR, RankCTR
from clicks.models.dbn import DynamicBayesianNetwork, SimplifiedDynamicBayesianNetwork
from clicks.models.pbm import PositionBasedModel
from clicks.models.ubm import UserBrowsingModel
from clicks.propensities import (
    Estimate,
    PropensityMethod,
    estimate,
    name_positions,
    plot_propensities,
    tabulate,
)
from corpus.errors import InputError
from corpus.output_folder import begin_output, check_output, finish_output
from corpus.places import Place, is_there, whole_file
from corpus.schemas import empty_table
from corpus.tables import read_table, table_path, write_parquet

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
# Of these, sums over the sessions of each pair at each position say all.
ONE_CLICK_AT_A_TIME = ("ipw", "DocumentCTR", "PositionBasedModel")
ROWS_AT_ONCE = 300_000  # of sessions that are read here, without Ray
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
    collection: Place,
    output: Place,
    labels: Labels | None = None,
    propensity: PropensityMethod = "em",
    context: str | None = None,
    prior: Place | None = None,
    beside: Place | None = None,
    max_weight: float = 20.0,
    resamples: int = 200,
    resume: bool = False,
) -> None:
    """Learns how often each position is examined, and writes click labels without that bias.

    Estimates propensities from the sessions of a collection (estimate_propensities) and weights
    clicks by their inverse (inverse_propensity_labels), or fits a click model and takes the
    relevance that it infers. With `prior`, a judge's grades are the prior of each pair's rates in
    the click model, and the label is what clicks make of it (fusion, docs/fusion.md).

    Args:
        collection: the folder of the collection; it must hold sessions. Those of judged and test
            queries that are not supervised are left out.
        output: the folder to write: click_labels.parquet (query_id, doc_id, relevance,
            impressions, clicks, model), propensities.parquet (null where the log does not tell a
            propensity) and propensities.svg; of a click model, also the folder click_model, with
            a folder 1, 2 and so on for each context. With `prior`, click_labels also has precision
            (the trials that a label is worth) and rows for graded pairs that were never shown, and
            prior.parquet has what each grade is worth.
        labels: "ipw", clicks weighted by inverse propensity, or the name of a click model, whose
            relevance is the label. By default ipw, and with `prior` PositionBasedModel.
        propensity: how propensities are estimated: em (a position-based model), all_pairs,
            adjacent_chain or pivot_one (intervention harvesting).
        context: a column of the sessions, such as the device, by which each context has
            propensities, or a click model, of its own; a pair's label is the mean of its contexts'
            by impressions. Sessions in which it is null are set aside and counted.
        prior: a folder of annotations, of one judge, whose grades of pairs are the prior of a click
            model. What a grade is worth is learned from the log.
        beside: a folder of annotations that rankers learn from beside the labels of a click model;
            by default those of `prior`. A query without any of their grades gets clicks weighted by
            inverse propensity: on a sparse log the model tells above all which documents are
            clicked wherever they are shown, and little of what each is worth for one query.
        max_weight: the most that one click can weigh, at least 1. With 20, positions examined
            less than 1 time in 20 count as examined 1 time in 20.
        resamples: the number of bootstrap resamples of queries, for the intervals of the
            propensities; 0 for none.
        resume: go on in an output folder that this job, with the same settings, has begun.

    Raises:
        InputError: the collection breaks its schema or has no sessions, a setting is out of
            range, a propensity cannot be known from the log, the annotations cannot be a prior, or
            the output folder is taken.
    """
    check_click_settings(max_weight, resamples, labels, prior, beside)
    if labels is None:
        labels = "ipw" if prior is None else "PositionBasedModel"
    check_output(output, "fit_clicks", resume)
    path = table_path(collection, "sessions")
    if context is not None:
        check_context(path, context)
    counted = _read_log(collection, path, context, summed=labels in ONE_CLICK_AT_A_TIME)
    logs = {name: found.log for name, found in counted.items()}
    grades = None if prior is None else read_grades(prior, collection)
    graded = None if grades is None else pc.unique(grades["query_id"])
    if beside is not None:
        graded = read_graded_queries(beside)
    if prior is not None and grades is not None:
        print_overlap(list(logs.values()), grades, prior)
    found = {name: estimate(log, propensity) for name, log in logs.items()}
    for name, estimated in found.items():
        print_propensities(name, estimated)
    if labels == "ipw":
        _refuse_unknown(list(found.values()), propensity, path)
    settings = {
        "collection": collection,
        "labels": labels,
        "propensity": propensity,
        "context": context,
        "max_weight": max_weight,
        "resamples": resamples,
    }
    if grades is not None:
        settings |= {"prior": prior, "prior_hash": fingerprint(grades)}
    if beside is not None and graded is not None:
        queries = pa.table({"query_id": graded})
        settings |= {"beside": beside, "beside_hash": fingerprint(queries)}
    if not begin_output(output, "fit_clicks", settings, resume):
        print(f"{output}: already finished")
        return
    tables = []
    for name, estimated in found.items():
        table = tabulate(estimated, resamples)
        if context is not None:
            table = table.append_column("context", pa.repeat(name, len(table)))
        tables.append(table)
    propensities = pa.concat_tables(tables)
    write_parquet(propensities, output / "propensities.parquet")
    with whole_file(output / "propensities.svg") as file:
        plot_propensities(propensities).savefig(file, format="svg")
    # Estimates from few pairs can be above that of the first position, which is always seen.
    known = [np.minimum(estimated.propensity, 1.0) for estimated in found.values()]
    weighed = list(zip(logs.values(), known, strict=True))
    if labels == "ipw":
        made = weighted_labels(weighed, max_weight, propensity)
    else:
        fitted = []
        for number, (name, shown) in enumerate(logs.items(), 1):
            log = shown if grades is None else add_grades(shown, grades)
            model = CLICK_MODELS[labels]().fit_log(log)
            model.save(output / "click_model" / ("" if context is None else str(number)))
            print_model(model, name, log)
            fitted.append((name, model, model_labels(model, log)))
        made = average_labels([of_part for _, _, of_part in fitted])
        if grades is not None:
            _write_priors({name: model for name, model, _ in fitted}, context, output)
        if graded is not None and not _clicks_are_lost(list(found.values())):
            weighted = weighted_labels(weighed, max_weight, propensity)
            made = replace_ungraded(made, weighted, graded)
    write_labels(made, output)
    finish_output(output)
    count, distinct = (
        sum(getattr(found, name) for found in counted.values()) for name in ("sessions", "distinct")
    )
    print(
        f"{count:,} sessions, {distinct:,} distinct "
        f"({count / distinct:.1f} of a kind), {made.num_rows:,} click labels"
    )


def check_click_settings(
    max_weight: float,
    resamples: int,
    labels: Labels | None = None,
    prior: Place | None = None,
    beside: Place | None = None,
) -> None:
    """Refuses settings of `fit_clicks` that no log could make right.

    Raises:
        InputError: naming the setting.
    """
    if not max_weight >= 1:
        raise InputError(f"max_weight must be at least 1, not {max_weight}")
    if resamples < 0:
        raise InputError(f"resamples must be at least 0, not {resamples}")
    if prior is not None and labels == "ipw":
        raise InputError(
            "labels ipw are weighted clicks, which have no prior; leave labels out "
            "(PositionBasedModel), or name another click model"
        )
    if beside is not None and prior is None and labels in (None, "ipw"):
        raise InputError(
            "beside tells where the labels of a click model serve, and labels ipw are weighted "
            "clicks everywhere; leave beside out, or name a click model"
        )


def _read_log(
    collection: Place, path: Place, context: str | None, summed: bool
) -> dict[str, CountedLog]:
    """The encoded log of each context; of a long log, counted and encoded over all nodes."""
    withheld = withheld_queries(collection)
    if count_rows(path) > ROWS_AT_ONCE:
        from clicks.log.distributed import encode_parts  # brings Ray

        return join_parts(encode_parts(path, context, withheld, summed), context, path)
    sessions = read_table(collection, "sessions") if is_there(path) else empty_table("sessions")
    parts = [encode_part(sessions, context, withheld, summed)] if sessions.num_rows else []
    return join_parts(parts, context, path)


def _clicks_are_lost(found: list[Estimate]) -> bool:
    """Whether there are clicks below the first position, and none where a propensity is known."""
    below = sum(int(estimated.clicks[1:].sum()) for estimated in found)
    lost = sum(
        int(estimated.clicks[estimated.unidentified_positions - 1].sum()) for estimated in found
    )
    return below > 0 and lost == below


def _refuse_unknown(found: list[Estimate], method: PropensityMethod, path: Place) -> None:
    """Refuses a log none of whose clicks below the first position has a known propensity."""
    if _clicks_are_lost(found):
        unknown = np.unique(np.concatenate([one.unidentified_positions for one in found]))
        other = "" if method == "em" else "propensity em, "
        raise InputError(
            f"{path}: too few pairs are shown and clicked both at position "
            f"{name_positions(unknown)} and at others to tell its propensity; take {other}labels "
            "DocumentCTR, which leave the bias of positions in, or a log in which documents change "
            "places"
        )


def _write_priors(models: dict[str, ClickModel], context: str | None, output: Place) -> None:
    tables = []
    for name, model in models.items():
        assert isinstance(model.prior_, GradedPrior)
        table = tabulate_prior(model.prior_)
        if context is not None:
            table = table.append_column("context", pa.repeat(name, len(table)))
        tables.append(table)
    write_parquet(pa.concat_tables(tables), output / "prior.parquet")
