"""A search over a collection of which its driver reads no more than the validation queries."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from corpus import by_query
from corpus.errors import InputError
from corpus.tables import read_collection
from rankers import preparation
from rankers.data.lists import candidate_ids
from rankers.settings import TrainingSettings
from tests.conftest import with_settings
from tests.rankers.trainings import make_inputs
from tuning import inputs as inputs_of_trials
from tuning import search
from tuning.space import SearchSpace
from tuning.tune import tune

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def refuse_whole(*_: Any) -> None:
    raise AssertionError("the collection is read whole")


def test_a_search_over_parts_ends_as_one_over_a_whole_collection_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = make_inputs(tmp_path / "inputs")
    splits = pd.read_parquet(inputs / "collection" / "splits.parquet")
    splits.loc[splits["bucket"] == "medium", "split"] = "test"
    splits.to_parquet(inputs / "collection" / "splits.parquet")
    monkeypatch.setattr(by_query, "ROWS_AT_ONCE", 100)
    monkeypatch.setattr(by_query, "ROWS_OF_PART", 150)
    monkeypatch.setattr(preparation, "read_supervised_lists", refuse_whole)
    training = with_settings(
        TrainingSettings(),
        backbone=str(inputs / "exact"),
        epochs=2,
        max_length=32,
        lists_per_step=4,
        workers=1,
    )
    given: dict[str, Any] = {
        "collection": inputs / "collection",
        "click_labels": {"clicks": inputs / "clicks", "shrunk": inputs / "clicks"},
        "annotations": inputs / "llm",
        "output": tmp_path / "search",
        "training": training,
        "space": SearchSpace(mixes=["Constant"]),
        "trials": 4,
        "finalists": 1,
        "finalist_seeds": 1,
    }

    with pytest.raises(InputError, match="nDCG@10_medium never comes"):
        tune(**given, objectives=["nDCG@10_medium"])
    output = tmp_path / "search"
    assert not output.exists()
    prepared: list[Path] = []
    before_trials: list[int] = []
    prepare_input, run_trials = inputs_of_trials.prepare_input, search.run_trials

    def counted(tables: Any, training: Any, place: Path, tokens: Any) -> Any:
        prepared.append(place)
        return prepare_input(tables, training, place, tokens)

    def noted(*arguments: Any) -> None:
        before_trials.append(len(prepared))
        run_trials(*arguments)

    monkeypatch.setattr(inputs_of_trials, "prepare_input", counted)
    monkeypatch.setattr(search, "run_trials", noted)
    tune(**given)
    # While trials have all processors, tasks that prepare would wait for them, and they for these.
    assert before_trials == [len(prepared)] == [2]
    trials = pd.read_parquet(output / "trials.parquet")
    assert (trials["state"] == "COMPLETE").all()
    finalists = pd.read_parquet(output / "finalists.parquet")
    measured = set(finalists["query_id"])
    validation = candidate_ids(read_collection(inputs / "collection"), "validation")
    assert measured
    assert measured <= set(validation["query_id"].to_pylist())
    assert finalists["value"].between(0, 1).all()
