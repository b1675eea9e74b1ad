"""The study of ablations: its cases, whom each touches, its tables, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from corpus.errors import InputError
from corpus.sources import SimulatedWorld
from rankers.settings import TrainingSettings
from tests.conftest import REPOSITORY, with_settings
from tests.ray_jobs.conftest import parse_job
from workflow.ablate import _touching, _write_results, ablate
from workflow.ablations import Ablations, changes_of
from workflow.cases import DEFAULT, Case, Measured
from workflow.conditions import headline_conditions
from workflow.simulated_annotations import SimulatedJudge

WORLD = SimulatedWorld(queries=90, documents=80, candidates_per_query=5)
CONDITIONS = {name: headline_conditions()[name] for name in ("annotation", "famol", "fusion")}


def ablations(**given: Any) -> Ablations:
    return Ablations(**{name: given.get(name, []) for name in vars(Ablations())})


def test_each_change_differs_from_the_default_in_one_thing() -> None:
    default = Case(WORLD)
    given = ablations(
        strategy=["pointwise", "ranking"],
        policy=["tail"],
        shares=[0.3, 0.1],
        heads=["shared", "two"],
        query_weight=["session"],
        annotation_label=["grade"],
    )
    changes = changes_of(given, default)
    assert list(changes) == [
        *("strategy_ranking", "policy_tail_0.1", "policy_tail_0.3", "heads_two"),
        *("query_weight_session", "annotation_label_grade"),
    ]
    judged = changes["policy_tail_0.1"]
    assert judged.case == Case(WORLD, SimulatedJudge(share=0.1, policy="tail"))
    assert (judged.setting, judged.level, judged.share) == ("policy", "tail", 0.1)
    heads = changes["heads_two"].case
    assert heads.training.model == replace(TrainingSettings().model, heads="two")
    assert heads == replace(default, training=heads.training)
    weighted = changes["query_weight_session"]
    assert weighted.case.training.objective.query_weight == "session"
    assert (weighted.setting, weighted.level) == ("query weight", "session")


def test_a_ranker_is_trained_where_a_change_touches_what_it_learns() -> None:
    one = {"strategy": ["listwise"], "policy": ["uniform"], "shares": [0.1], "heads": ["two"]}
    one |= {"query_weight": ["session"], "balance_losses": [True]}
    one |= {"annotation_label": ["confident_grade"]}
    _, own = _touching(changes_of(ablations(**one), Case(WORLD)), CONDITIONS)
    assert own == {
        DEFAULT: ["annotation", "famol", "fusion"],
        "strategy_listwise": ["annotation", "famol", "fusion"],
        "policy_uniform_0.1": ["annotation", "famol", "fusion"],
        "heads_two": ["famol"],
        "query_weight_session": ["famol", "fusion"],
        "balance_losses_True": ["famol"],
        "annotation_label_confident_grade": ["annotation", "famol"],
    }
    alone = {"annotation": CONDITIONS["annotation"]}
    changes, _ = _touching(changes_of(ablations(**one), Case(WORLD)), alone)
    assert "heads_two" not in changes


def test_each_ranker_is_tested_against_its_own_without_the_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Annotations lose 0.1 of their 0.9 on each of 30 queries, fusion gains 0.05; famol is as it is.
    queries = [f"0/q{number}" for number in range(30)]
    spread = np.linspace(-0.01, 0.01, len(queries))

    def measured(**means: float) -> Measured:
        scores = [
            pd.DataFrame({"ranker": ranker, "query_id": queries, "value": mean + spread * mean})
            for ranker, mean in means.items()
        ]
        groups = {"query_id": queries * 2, "group": ["low"] * 30 + ["all"] * 30}
        return Measured(pd.concat(scores).assign(measure="nDCG@10"), pd.DataFrame(groups))

    given = ablations(strategy=["selection"], policy=["tail"], shares=[0.1])
    changes = changes_of(given, Case(WORLD))
    cases = {
        DEFAULT: measured(annotation=0.9, famol=0.9, fusion=0.9),
        "strategy_selection": measured(annotation=0.8, famol=0.9),
        "policy_tail_0.1": measured(fusion=0.95),
    }
    _write_results(tmp_path, changes, cases, {})
    differences = pd.read_parquet(tmp_path / "differences.parquet")
    assert len(differences) == 3 * 2, "three rankers, two groups"
    found = differences.set_index(["setting", "level", "share", "ranker", "bucket"])
    lost = found.loc[("strategy", "selection", 1.0, "annotation", "all")]
    assert (lost["difference"], lost["verdict"]) == (pytest.approx(-0.1), "loses")
    assert lost["baseline_value"] == pytest.approx(0.9)
    assert found.loc[("strategy", "selection", 1.0, "famol", "all"), "p_holm"] == 1.0
    won = found.loc[("policy", "tail", 0.1, "fusion", "low")]
    assert (won["difference"], won["verdict"]) == (pytest.approx(0.05), "wins")
    assert (won["wins"], won["queries"]) == (30, 30)
    means = pd.read_parquet(tmp_path / "ablation.parquet")
    assert means["setting"].unique().tolist() == ["default", "strategy", "policy"]
    lines = (tmp_path / "ablation.md").read_text().splitlines()
    assert capsys.readouterr().out.splitlines()[-len(lines) :] == lines
    assert lines[0] == (
        "| setting | level | share | ranker | nDCG@10 | difference | p (Holm) | low |"
    )
    assert lines[2].startswith("| default | – | 1 | annotation | 0.900 0.8")
    assert lines[2].endswith("| – | – | – |")
    assert lines[5].startswith("| strategy | selection | 1 | annotation | 0.800 0.7")
    assert " | −0.100 −0.100 to −0.100 loses | " in lines[5]
    assert "| policy | tail | 0.1 | fusion |" in lines[7]
    assert "**+0.050** +0.050 to +0.050" in lines[7]
    page = (tmp_path / "report.html").read_text()
    assert "nDCG@10 of fusion by share of pairs annotated" in page


def test_the_settings_that_are_shipped_are_those_of_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = str(REPOSITORY / "configs" / "ablation.yaml")
    arguments = parse_job(monkeypatch, "ablate", ablate, "--config", config)
    assert arguments["ablations"] == Ablations()
    assert arguments["world"] == SimulatedWorld()
    assert arguments["training"].optimization.epochs == 2
    changes, own = _touching(changes_of(Ablations(), Case(WORLD)), CONDITIONS)
    assert (len(changes), sum(map(len, own.values()))) == (17, 46)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ablations": ablations()}, "ablations change nothing"),
        ({"ablations": ablations(heads=["shared"])}, "ablations change nothing"),
        ({"ablations": ablations(policy=["tail"], shares=[1.0])}, "shares are above 0 and below"),
        ({"world": SimulatedWorld(judged=0.0)}, "judged must be above 0"),
        ({"seeds": 0}, "seeds and at_once must be at least 1"),
        ({"training": with_settings(TrainingSettings(), epochs=0)}, "epochs must be at least 1"),
        (
            {
                "ablations": ablations(heads=["two"]),
                "conditions": {"evidence": headline_conditions()["famol by evidence"]},
            },
            "two heads are mixed when ranking",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_it_begins(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=reason):
        ablate(tmp_path / "study", **change)
    assert not (tmp_path / "study").exists()
