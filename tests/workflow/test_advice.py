"""What is recommended on which log, and the command lines that do it."""

import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from annotation.annotate import annotate
from clicks.fit_clicks import fit_clicks
from rankers.evaluate import evaluate
from rankers.mixes import Constant
from rankers.train import train
from tests.ray_jobs.conftest import parse_job
from workflow.advice import Advice, commands, recommend
from workflow.log_facts import Agreement, Facts, detectable

GOOD, GUESSING = Agreement(0.8, 0.7, 0.9, 50), Agreement(0.02, -0.1, 0.15, 50)
JOBS: dict[str, Callable[..., None]] = {
    job.__name__: job for job in (annotate, evaluate, fit_clicks, train)
}
# A log of web search with a judge that was checked.
FACTS = Facts(
    queries=1000,
    searched=800,
    searches=3000,
    once=0.64,
    traffic={"high": 0.6, "medium": 0.1, "low": 0.3},
    pairs=10000,
    shown=0.6,
    shown_often=0.05,
    least_impressions=10,
    clicks=2500,
    positions=10,
    unknown_positions=0,
    unknown_clicks=0.0,
    annotated=1.0,
    shown_annotated=1.0,
    with_humans=GOOD,
    with_clicks=Agreement(0.3, 0.25, 0.35, 400),
    judged={"high": 60, "medium": 60, "low": 120, "all": 240},
    detectable={"high": 0.05, "medium": 0.05, "low": 0.03, "all": 0.02},
    held_out=700,
)
UNJUDGED = {"annotated": None, "shown_annotated": 0.0, "with_humans": None, "with_clicks": None}
NO_LOG = {"searches": 0, "searched": 0, "clicks": 0, "once": 0.0, "positions": 0}
STUCK = {"unknown_positions": 9, "unknown_clicks": 1.0}
NO_TEST = dict.fromkeys(FACTS.judged, 0)


@pytest.mark.parametrize(
    ("changes", "choice", "labels", "reason"),
    [
        ({}, "fusion", "PositionBasedModel", "above clicks and annotations in nearly"),
        ({"with_humans": None}, "fusion", "PositionBasedModel", "Fusion"),
        (NO_LOG, "annotations", None, "no searches in the log window"),
        ({"clicks": 99}, "annotations", None, "only 99 clicks"),
        (STUCK, "annotations", None, "a good document from a good position"),
        ({"shown_annotated": 0.0}, "annotations", None, "No pair that the log shows has a grade"),
        (UNJUDGED, "clicks", "ipw", "no annotations. Alone, clicks weighted by inverse"),
        (UNJUDGED | STUCK, "clicks", "DocumentCTR", "the bias of positions is in them"),
        ({"with_humans": GUESSING}, "clicks", "ipw", "one who guesses"),
        (NO_LOG | UNJUDGED, "nothing", None, "nothing to learn from"),
        (NO_LOG | {"with_humans": GUESSING}, "nothing", None, "one who guesses"),
        (STUCK | {"with_humans": GUESSING}, "clicks", "DocumentCTR", "good position. The judge"),
    ],
)
def test_each_log_has_its_choice(
    changes: dict[str, object], choice: str, labels: str | None, reason: str
) -> None:
    advice = recommend(replace(FACTS, **changes))
    assert (advice.choice, advice.labels) == (choice, labels)
    assert reason in advice.reason


@pytest.mark.parametrize(
    ("changes", "caution"),
    [
        (UNJUDGED, "Annotate (`annotate`), and look again"),
        ({"with_humans": GUESSING}, "Look at the judge's prompt and model"),
        ({"with_humans": None}, "Nobody has checked the judge"),
        ({"with_clicks": Agreement(-0.4, -0.5, -0.3, 90)}, "contradict each other"),
        ({"annotated": 0.25}, "75% of the pairs to train on have no grade"),
        ({"shown_annotated": 0.0}, "Annotate pairs of the logged pages"),
        ({"once": 1.0}, "Every query was searched once"),
        ({"unknown_positions": 2, "unknown_clicks": 0.1}, "2 of 10 positions, with 10% of the"),
        ({"detectable": FACTS.detectable | {"high": math.inf}}, "any difference on high queries"),
        ({"judged": NO_TEST}, "only held-out traffic measures"),
        ({"judged": NO_TEST, "held_out": 0}, "Nothing measures a ranker"),
    ],
)
def test_what_else_is_to_be_known_is_said(changes: dict[str, object], caution: str) -> None:
    assert recommend(FACTS).cautions == ()
    assert caution in " ".join(recommend(replace(FACTS, **changes)).cautions)


@pytest.mark.parametrize(
    ("choice", "labels", "jobs", "baseline"),
    [
        ("fusion", "PositionBasedModel", "fit_clicks train train evaluate", "annotations"),
        ("annotations", None, "train fit_clicks evaluate", "first stage"),
        ("clicks", "ipw", "fit_clicks train evaluate", "first stage"),
        ("clicks", "DocumentCTR", "fit_clicks train evaluate", "first stage"),
        ("nothing", None, "annotate", None),
    ],
)
def test_the_commands_are_ones_that_their_jobs_take(
    choice: str,
    labels: str | None,
    jobs: str,
    baseline: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = Path("my runs")
    advice = Advice(choice, labels, "", ())
    todo, check = commands(advice, mine / "collection", mine / "grades", by_traffic=True)
    parsed = []
    for line in (*todo, *check):
        python, script, *flags = shlex.split(line)
        assert python == "python"
        job = Path(script).stem
        parsed.append((job, parse_job(monkeypatch, job, JOBS[job], *flags)))
    assert [job for job, _ in parsed] == jobs.split()
    outputs = [arguments["output"] for _, arguments in parsed]
    assert len(set(outputs)) == len(outputs)
    last = parsed[-1][1]
    assert last["collection"] == mine / "collection"
    if baseline is None:
        return
    assert last["baseline"] == baseline
    assert set(last["rankers"].values()) == {
        arguments["output"] for job, arguments in parsed if job == "train"
    }
    # Propensities to measure traffic by come from labels that were made before.
    fitted = [arguments["output"] for job, arguments in parsed if job == "fit_clicks"]
    assert last["click_labels"] == (None if labels == "DocumentCTR" else fitted[0])
    trained = next(arguments for job, arguments in parsed if job == "train")
    assert trained["mix"] == Constant(0.0 if choice == "annotations" else 1.0)


def test_more_judged_queries_show_smaller_differences() -> None:
    assert detectable(0) == detectable(2) == math.inf
    assert detectable(400) == pytest.approx(detectable(100) / 2, rel=0.05)
