"""What `fit_clicks` says of a log, of what it learned, and of a judge's grades beside it."""

import numpy as np
import pyarrow as pa

from clicks.inference.graded_prior import GradedPrior
from clicks.inference.harvesting import LEAST_OVERLAP
from clicks.judge import describe_prior, refuse_unseen
from clicks.log.click_log import ClickLog
from clicks.log.grades import find_graded
from clicks.models.base import ClickModel
from clicks.models.examination import ExaminationModel
from clicks.propensities import Estimate, name_positions
from corpus.places import Place

MOST_SHOWN = 20  # propensities that are printed


def print_propensities(context: str, found: Estimate) -> None:
    shown = [
        "unknown" if np.isnan(propensity) else f"{propensity:.2f}"
        for propensity in found.propensity[:MOST_SHOWN]
    ]
    more = " ..." if len(found.propensity) > MOST_SHOWN else ""
    print(f"propensities of {context} sessions: {' '.join(shown)}{more}")
    unidentified = found.unidentified_positions
    if len(unidentified):
        at = unidentified - 1
        print(
            f"  the log does not tell that of position {name_positions(unidentified)}: no pairs "
            "that were clicked there link it to the first one, or too few; its "
            f"{found.impressions[at].sum():,} impressions and {found.clicks[at].sum():,} clicks "
            "cannot be weighted by inverse propensity"
        )
    known = ~np.isnan(found.propensity)
    few = np.flatnonzero(known & (found.linked_pairs < LEAST_OVERLAP)) + 1
    if len(few) and known[1:].any():
        print(
            f"  at position {name_positions(few)} fewer than {LEAST_OVERLAP} pairs are also shown "
            "elsewhere: what is said of it rests on the model, not on the log"
        )


def print_model(model: ClickModel, context: str, log: ClickLog) -> None:
    name, perplexity = type(model).__name__, model.perplexity_of_log(log)
    print(f"{name} of {context} sessions: perplexity {perplexity:.4f} on its own log")
    if isinstance(model, ExaminationModel) and len(model.unidentified_positions):
        positions = name_positions(model.unidentified_positions)
        print(
            f"  the log does not tell how much position {positions} is "
            "examined: documents there are taken to be as attractive as all others, on average"
        )
    if isinstance(model.prior_, GradedPrior):
        print(
            "  what a grade is worth, attractiveness (and the trials that it counts as): "
            f"{describe_prior(model.prior_)}"
        )


def print_overlap(logs: list[ClickLog], grades: pa.Table, prior: Place) -> None:
    """Refuses grades of pairs that no log shows, and says of how many pairs there are grades."""
    shown = sum(len(log.pairs.query) for log in logs)
    graded = np.zeros(grades.num_rows, dtype=np.bool_)
    both = 0
    for log in logs:
        found = find_graded(log, grades) >= 0
        graded |= found
        both += int(found.sum())
    refuse_unseen(graded, prior)
    print(
        f"{both:,} of {shown:,} shown pairs have a grade, and {np.sum(~graded):,} graded pairs "
        "were never shown"
    )
