import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from corpus.errors import InputError
from tuning.inputs import Sources, check_measured
from tuning.objectives import read_objectives


def made(folder: Path, grade: int = 1) -> Sources:
    """Tables that are told apart by their bytes alone."""
    for path in ("collection/queries", "collection/judgments", "clicks/click_labels"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"grade": [grade]}).to_parquet(folder / f"{path}.parquet")
    parts = folder / "llm" / "annotations.parquet"
    parts.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"grade": [grade]}).to_parquet(parts / "part-0.parquet")
    return Sources(folder / "collection", {"clicks": folder / "clicks"}, folder / "llm")


def test_content_is_told_apart_and_its_place_is_not(tmp_path: Path) -> None:
    hashes = made(tmp_path / "a").hashes()
    assert list(hashes) == ["collection_hash", "annotations_hash", "click_labels.clicks_hash"]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert made(tmp_path / "b").hashes() == hashes
    changed = {
        "collection_hash": "collection/judgments.parquet",
        "annotations_hash": "llm/annotations.parquet/part-0.parquet",
        "click_labels.clicks_hash": "clicks/propensities.parquet",
    }
    for name, path in changed.items():
        sources = made(tmp_path / name)
        pd.DataFrame({"grade": [2]}).to_parquet(tmp_path / name / path)
        differ = [key for key, found in sources.hashes().items() if found != hashes[key]]
        assert differ == [name]


def test_a_measure_that_never_comes_is_refused() -> None:
    """The one query of high frequency has candidates of one grade, which no ranking changes."""
    rows = [("q1", ["d1", "d2"], 0), ("q2", ["d1", "d2"], 2)]
    validation = pa.Table.from_pylist(
        [dict(zip(("query_id", "doc_ids", "bucket"), row, strict=True)) for row in rows]
    )
    graded = [("q1", "d1", 0), ("q1", "d2", 0), ("q2", "d1", 2), ("q2", "d2", 0)]
    yardstick = pa.Table.from_pylist(
        [dict(zip(("query_id", "doc_id", "grade"), row, strict=True)) for row in graded]
    )
    check_measured(validation, yardstick, read_objectives(["nDCG@10_all", "nDCG@10_low"], {}))
    with pytest.raises(InputError, match=r"nDCG@10_high never comes.*there are nDCG@10_"):
        check_measured(validation, yardstick, read_objectives(["nDCG@10_high"], {}))
    traffic = read_objectives(["nDCG@10_traffic"], {"high": 9, "medium": 0, "low": 1})
    with pytest.raises(InputError, match="nDCG@10_high never comes"):
        check_measured(validation, yardstick, traffic)
