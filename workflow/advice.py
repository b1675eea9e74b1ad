"""Which signal to learn from, by what a log holds; the evidence stands in docs/which_mix.md."""

import shlex
from dataclasses import dataclass
from typing import Literal

from corpus.places import Place
from workflow.log_facts import Agreement, Facts

Choice = Literal["fusion", "annotations", "clicks", "nothing"]
# Fewer clicks cannot tell what four grades are worth. A rule of thumb, not measured.
LEAST_CLICKS = 100


@dataclass(frozen=True)
class Advice:
    """What to learn from, and why.

    Attributes:
        choice: fused labels, annotations alone, clicks alone, or nothing as yet.
        labels: the labels of clicks that `fit_clicks` makes, where clicks are learned from.
        reason: why, in a sentence or two.
        cautions: what else to know or to do, a sentence each.
    """

    choice: Choice
    labels: str | None
    reason: str
    cautions: tuple[str, ...]


def recommend(facts: Facts) -> Advice:
    """The choice that the evidence so far favours on such a log."""
    trusted = facts.annotated is not None and not _by_chance(facts.with_humans)
    no_clicks = _why_no_clicks(facts)
    cautions = (*_of_judge(facts), *_of_log(facts, no_clicks), *_of_measuring(facts))
    if trusted and no_clicks is None and facts.shown_annotated > 0:
        reason = (
            "Fusion is above clicks and annotations in nearly every table so far. Where the "
            "log is empty its labels are the judge's grades, as the log says what they are "
            "worth, and where many clicked they are what users did."
        )
        return Advice("fusion", "PositionBasedModel", reason, cautions)
    if trusted:
        reason = no_clicks or "No pair that the log shows has a grade, so clicks cannot tell what "
        if no_clicks is None:
            reason += "a grade is worth, and fusion needs that."
            remedy = "Annotate pairs of the logged pages as well, and fuse then."
            cautions = (remedy, *cautions)
        return Advice("annotations", None, reason, cautions)
    if no_clicks is None:
        reason = (
            f"{_why_no_judge(facts)} Alone, clicks weighted by inverse propensity order a list a "
            "little better than shrunk ones, with a noise that many queries average out."
        )
        return Advice("clicks", "ipw", reason, cautions)
    if facts.clicks >= LEAST_CLICKS:
        reason = (
            f"{no_clicks} {_why_no_judge(facts)} So learn from click-through rates, and know that "
            "the bias of positions is in them."
        )
        return Advice("clicks", "DocumentCTR", reason, cautions)
    reason = f"{no_clicks} {_why_no_judge(facts)} So there is nothing to learn from yet."
    return Advice("nothing", None, reason, cautions)


def commands(
    advice: Advice, collection: Place, annotations: Place | None, by_traffic: bool
) -> tuple[list[str], list[str]]:
    """The command lines to do it, and those to check it.

    Args:
        advice: what to do.
        collection: folder of the collection; outputs are beside it.
        annotations: folder of the annotations, if there are any.
        by_traffic: whether there are held-out sessions to measure by.
    """
    beside, choice = collection.parent, advice.choice
    if choice == "nothing":
        wanted = {"output": beside / "annotations", "model": "MODEL"}
        return [_line("annotate", collection=collection, **wanted)], []
    labels = beside / f"labels-{choice}"
    of_grades = {"mix": "Constant", "mix.click_weight": 0, "annotations": annotations}
    of_clicks = {"mix": "Constant", "mix.click_weight": 1, "click_labels": labels}
    rankers: dict[str, Place] = {choice: beside / f"ranker-{choice}"}
    baseline = "first stage"
    todo, check = [], []
    if choice != "annotations":
        how = {"prior": annotations} if choice == "fusion" else {"labels": advice.labels}
        todo.append(_line("fit_clicks", collection=collection, **how, output=labels))
    signal = of_grades if choice == "annotations" else of_clicks
    todo.append(_line("train", collection=collection, **signal, output=rankers[choice]))
    if choice == "fusion":
        baseline = "annotations"
        rankers[baseline] = beside / f"ranker-{baseline}"
        check.append(_line("train", collection=collection, **of_grades, output=rankers[baseline]))
    compared = {f"rankers.{name}": path for name, path in rankers.items()}
    if by_traffic and advice.labels != "DocumentCTR":
        if choice == "annotations":
            check.append(_line("fit_clicks", collection=collection, output=labels))
        compared["click_labels"] = labels
    further = {"baseline": baseline, "output": beside / "evaluation"}
    check.append(_line("evaluate", collection=collection, **compared, **further))
    return todo, check


def _line(job: str, **arguments: object) -> str:
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    return shlex.join(["python", f"ray_jobs/{job}.py", *words])


def _by_chance(agreement: Agreement | None) -> bool:
    """Whether the judge is measured, and not shown to be better than one who guesses."""
    return agreement is not None and agreement.low <= 0


def _why_no_clicks(facts: Facts) -> str | None:
    """Why clicks cannot be learned from, if they cannot."""
    if facts.searches == 0:
        return "There are no searches in the log window."
    if facts.clicks < LEAST_CLICKS:
        return f"There are only {facts.clicks:,} clicks, too few to learn from."
    if facts.unknown_clicks >= 1:
        return (
            "Below the first position no document that is clicked is shown at other positions as "
            "well, so the log cannot tell a good document from a good position."
        )
    return None


def _why_no_judge(facts: Facts) -> str:
    if facts.annotated is None:
        return "There are no annotations."
    assert facts.with_humans is not None
    return (
        "The judge is not shown to agree with humans better than one who guesses (rank correlation "
        f"{facts.with_humans.value:.2f}, from {facts.with_humans.low:.2f} on, "
        f"{facts.with_humans.queries:,} queries)."
    )


def _of_judge(facts: Facts) -> list[str]:
    if facts.annotated is None:
        return ["Annotate (`annotate`), and look again: fusion is above clicks in every table."]
    told = []
    if _by_chance(facts.with_humans):
        told.append("Look at the judge's prompt and model (`agreement`) before you use its grades.")
    elif facts.with_humans is None:
        told.append(
            "Nobody has checked the judge: humans graded none of its pairs. Have some judged."
        )
    if facts.with_clicks is not None and facts.with_clicks.high < 0:
        told.append("The judge and users contradict each other: look at a report's list of pairs.")
    if facts.annotated < 1:
        told.append(
            f"{1 - facts.annotated:.0%} of the pairs to train on have no grade; for those fusion "
            "has clicks alone, and annotations say nothing. Compare it with a Constant mix of 0.5 "
            "on labels made with `fit_clicks --beside` (docs/fusion.md)."
        )
    return told


def _of_log(facts: Facts, no_clicks: str | None) -> list[str]:
    told = []
    if facts.searched and facts.once == 1:
        told.append(
            "Every query was searched once, so all are of the bucket low: mixes that go by "
            "frequency (FAMOL, ByBucket) are the same for all of them."
        )
    if no_clicks is None and facts.unknown_clicks > 0:
        told.append(
            f"{facts.unknown_positions} of {facts.positions} positions, with "
            f"{facts.unknown_clicks:.0%} of the clicks below the first, have no known propensity: "
            "what is clicked there rests on an assumption, or is left out."
        )
    return told


def _of_measuring(facts: Facts) -> list[str]:
    if facts.judged["all"]:
        few = [name for name, least in facts.detectable.items() if least == float("inf")]
        if not few:
            return []
        groups = ", ".join(few)
        return [f"Too few test queries are judged to show any difference on {groups} queries."]
    if facts.held_out:
        return [
            "No test query is judged, so only held-out traffic measures; it favours what users "
            "click on, as clicks do. Have some judged."
        ]
    return ["Nothing measures a ranker: have some queries judged, or hold out traffic (prepare)."]
