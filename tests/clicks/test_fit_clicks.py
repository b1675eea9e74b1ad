"""The job from a collection's sessions to click labels."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clicks import CascadeModel, PositionBasedModel, fit_clicks
from corpus.errors import InputError
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection, read_table, write_collection


def write_log(folder: Path, sessions: pa.Table) -> Path:
    collection = Collection(
        queries=pa.table([["q"], ["tandem"], [4]], schema=SCHEMAS["queries"]),
        documents=pa.table([["a", "b"], ["A", "B"], ["", ""]], schema=SCHEMAS["documents"]),
        candidates=empty_table("candidates"),
        sessions=sessions,
        judgments=empty_table("judgments"),
        splits=empty_table("splits"),
    )
    write_collection(collection, folder)
    return folder


SESSIONS = pa.table(
    [
        ["1", "2", "3", "4"],
        ["q"] * 4,
        [["a", "b"], ["a", "b"], ["b", "a"], ["a"]],
        [[True, False], [True, True], [False, True], [False]],
    ],
    schema=SCHEMAS["sessions"],
)


def test_writes_labels_and_propensities_and_says_what_it_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "clicks"
    fit_clicks(write_log(tmp_path / "collection", SESSIONS), output)

    labels = read_table(output, "click_labels").to_pylist()
    assert [(row["doc_id"], row["impressions"], row["clicks"]) for row in labels] == [
        ("a", 4, 3),
        ("b", 3, 1),
    ]
    model = PositionBasedModel().fit(SESSIONS)
    second = model.examination_[1]
    assert [row["relevance"] for row in labels] == pytest.approx(
        [(1 + 1 + 1 / second) / 4, (1 / second) / 3]
    )
    propensities = pq.read_table(output / "propensities.parquet").to_pylist()
    known = ("position", "propensity", "linked_pairs", "impressions", "clicks", "method")
    assert [{name: row[name] for name in known} for row in propensities] == [
        dict(zip(known, (1, 1.0, 2, 4, 2, "em"), strict=True)),
        dict(zip(known, (2, second, 2, 3, 2, "em"), strict=True)),
    ]
    for row in propensities:
        assert row["low"] <= row["high"]
    printed = " ".join(capsys.readouterr().out.split())
    assert "4 sessions, 4 distinct (1.0 of a kind), 2 click labels" in printed
    assert f"propensities of all sessions: 1.00 {second:.2f}" in printed
    assert "at position 1, 2 fewer than 20 pairs are also shown elsewhere" in printed
    assert (output / "propensities.svg").stat().st_size > 1000


def test_a_finished_output_is_refused_or_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collection, output = write_log(tmp_path / "collection", SESSIONS), tmp_path / "clicks"
    fit_clicks(collection, output)
    with pytest.raises(InputError, match="--resume"):
        fit_clicks(collection, output)
    written = (output / "click_labels.parquet").stat().st_mtime_ns
    fit_clicks(collection, output, resume=True)
    assert "already finished" in " ".join(capsys.readouterr().out.split())
    assert (output / "click_labels.parquet").stat().st_mtime_ns == written
    with pytest.raises(InputError, match="max_weight"):
        fit_clicks(collection, output, max_weight=5.0, resume=True)


def test_a_collection_without_sessions_is_refused_before_the_output_is_claimed(
    tmp_path: Path,
) -> None:
    collection = write_log(tmp_path / "collection", empty_table("sessions"))
    with pytest.raises(InputError, match="no sessions to learn from"):
        fit_clicks(collection, tmp_path / "clicks")
    assert not (tmp_path / "clicks").exists()


def test_a_weight_below_one_is_refused_before_the_output_is_claimed(tmp_path: Path) -> None:
    collection = write_log(tmp_path / "collection", SESSIONS)
    with pytest.raises(InputError, match="max_weight must be at least 1"):
        fit_clicks(collection, tmp_path / "clicks", max_weight=0.5)
    assert not (tmp_path / "clicks").exists()


def test_labels_of_a_click_model_come_with_the_model(tmp_path: Path) -> None:
    output = tmp_path / "clicks"
    fit_clicks(
        write_log(tmp_path / "collection", SESSIONS), output, labels="CascadeModel", resamples=0
    )
    model = CascadeModel.load(output / "click_model")
    labels = read_table(output, "click_labels")
    assert labels["relevance"].to_pylist() == model.relevance()["relevance"].to_pylist()
    assert pq.read_table(output / "propensities.parquet")["low"].null_count == 2


def test_a_propensity_that_the_log_cannot_tell_is_not_made_up(tmp_path: Path) -> None:
    collection = write_log(tmp_path / "collection", SESSIONS)
    with pytest.raises(InputError, match="position 2 and at others"):
        fit_clicks(collection, tmp_path / "clicks", propensity="pivot_one")


def test_contexts_are_told_apart_by_a_column_of_the_log(tmp_path: Path) -> None:
    devices = SESSIONS.append_column("device", pa.array(["tv", "tv", "phone", "phone"]))
    collection = write_log(tmp_path / "collection", devices)
    fit_clicks(collection, tmp_path / "clicks", context="device", resamples=2)
    table = pq.read_table(tmp_path / "clicks" / "propensities.parquet")
    assert table["context"].to_pylist() == ["phone", "phone", "tv", "tv"]
    assert table["impressions"].to_pylist() == [2, 1, 2, 2]
    with pytest.raises(InputError, match="no column 'browser'"):
        fit_clicks(collection, tmp_path / "others", context="browser")
