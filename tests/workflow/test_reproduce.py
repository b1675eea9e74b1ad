"""A study of conditions over seeds: what is compared, what is made again, what is refused."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from benchmarks.expected_scores import compare_study, read_expected
from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from corpus.tables import read_table, write_parquet
from evaluation.measures import MAIN_MEASURE
from rankers.mixes import Constant
from rankers.settings import TrainingSettings
from tests.conftest import with_settings
from workflow.conditions import Condition, headline_conditions
from workflow.reproduce import reproduce
from workflow.study import values_of_seeds

WORLD = SimulatedWorld(queries=90, documents=80, candidates_per_query=5)
CONDITIONS = {
    "click": Condition(Constant(1.0)),
    "annotation": Condition(Constant(0.0)),
    "fusion": Condition(Constant(1.0), "fusion"),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_is_made_once_and_compares_each_condition(
    tmp_path: Path, random_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    training = with_settings(TrainingSettings(), epochs=1, lists_per_step=4, max_length=32)
    study = {"conditions": CONDITIONS, "training": training, "seeds": 1, "max_model_len": 1024}
    output = tmp_path / "study"
    reproduce(output, WORLD, model=str(random_model), **study)
    values = pd.read_parquet(output / "values.parquet")
    assert {"first stage", *CONDITIONS} == set(values["ranker"])
    assert values["query_id"].str.startswith("0/").all(), "each seed is another world"
    measures = pd.read_parquet(output / "measures.parquet")
    fused = [
        frame[(frame["ranker"] == "fusion") & (frame["measure"] == MAIN_MEASURE)]["value"]
        for frame in (values, measures[measures["bucket"] == "all"])
    ]
    assert fused[1].item() == pytest.approx(fused[0].mean())
    compared = compare_study(read_expected()["small"], output)
    # Where a change is meant, benchmarks/expected_scores.py --write makes the entry anew.
    assert compared["within"].all(), compared.to_string()
    assert (output / "comparison_annotation.md").exists()
    page = (output / "report.html").read_text()
    assert "Who wins on which queries" in page
    assert "What the scores follow" in page
    diagnosis = pd.read_parquet(output / "diagnosis.parquet")
    assert set(diagnosis["ranker"]) == set(values["ranker"])
    assert {"pairs by quality", "AUC of relevant"} <= set(diagnosis["measure"])
    assert not (output / "comparison_famol.md").exists(), "it is none of the conditions"
    labels = read_table(output / "seed-0" / "fusion", "click_labels")
    assert labels["impressions"].to_pylist().count(0) > 0, "pairs that nobody saw have labels, too"

    capfd.readouterr()
    reproduce(output, WORLD, model=str(random_model), **study, resume=True)
    assert "trained," not in capfd.readouterr().out
    others = study | {"conditions": {"click": CONDITIONS["click"]}}
    with pytest.raises(InputError, match="was begun with conditions"):
        reproduce(output, WORLD, model=str(random_model), **others, resume=True)


def test_a_query_of_another_world_is_another_query(tmp_path: Path) -> None:
    for seed in range(2):
        folder = tmp_path / f"seed-{seed}"
        prepare(folder / "collection", SimulatedWorld(40, 60, 200), seed=seed)
        value = {"ranker": ["a"], "query_id": ["q00001"], "measure": ["m"], "value": [0.5 + seed]}
        (folder / "evaluation").mkdir()
        write_parquet(pa.table(value), folder / "evaluation" / "values.parquet")
    collections, evaluations = (
        [tmp_path / f"seed-{seed}" / name for seed in range(2)]
        for name in ("collection", "evaluation")
    )
    values, groups = values_of_seeds(collections, evaluations, apart=True)
    assert values["query_id"].tolist() == ["0/q00001", "1/q00001"]
    assert set(values["query_id"]) < set(groups["query_id"])
    values, groups = values_of_seeds(collections, evaluations, apart=False)
    assert values[["query_id", "seed"]].to_numpy().tolist() == [["q00001", 0], ["q00001", 1]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seeds": 0}, "seeds and at_once must be at least 1"),
        ({"conditions": {"first stage": CONDITIONS["click"]}}, "first stage"),
        ({"training": with_settings(TrainingSettings(), epochs=0)}, "epochs must be at least 1"),
        ({"conditions": {"a/b": CONDITIONS["click"]}}, "has '/'"),
    ],
)
def test_a_study_that_cannot_be_is_refused_before_it_begins(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=reason):
        reproduce(tmp_path / "study", WORLD, **change)
    assert not (tmp_path / "study").exists()


def test_the_headline_has_the_papers_conditions_and_fusion() -> None:
    conditions = headline_conditions()
    assert {"click", "annotation", "one half", "famol", "fusion"} <= conditions.keys()
    assert [name for name, one in conditions.items() if one.labels == "fusion"] == [
        "fusion",
        "fusion in famol",
    ]
