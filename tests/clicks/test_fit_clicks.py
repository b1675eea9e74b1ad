"""The job from a collection's sessions to click labels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clicks import CascadeModel, PositionBasedModel
from clicks.fit_clicks import fit_clicks
from clicks.propensities import estimate_propensities
from corpus.errors import InputError
from corpus.places import Place
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection, read_table, write_collection
from tests.clicks.small_log import GRADES, QUERIES, SESSIONS, annotate, write_log


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
    second = estimate_propensities(SESSIONS)["propensity"][1].as_py()
    assert second == pytest.approx(PositionBasedModel().fit(SESSIONS).examination_[1], abs=0.01)
    assert [row["relevance"] for row in labels] == pytest.approx(
        [(1 + 1 + 1 / second) / 4, (1 / second) / 3]
    )
    propensities = pq.read_table(output / "propensities.parquet").to_pylist()
    known = ("position", "propensity", "linked_pairs", "impressions", "clicks", "method")
    assert [{name: row[name] for name in known} for row in propensities] == [
        dict(zip(known, (1, 1.0, 2, 4, 2, "em"), strict=True)),
        dict(zip(known, (2, pytest.approx(second), 2, 3, 2, "em"), strict=True)),
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


def test_a_log_in_a_store_is_learned_from_there(tmp_path: Path, store: Place) -> None:
    log = SESSIONS.append_column("device", pa.array(["tv", "tv", "phone", "tv"]))
    collection = write_log(store / "collection", log)
    annotations = annotate(store / "annotations", GRADES)
    given = {"prior": annotations, "beside": annotations, "context": "device", "resamples": 2}
    fit_clicks(collection, store / "clicks", **given)
    local = write_log(tmp_path / "collection", log)
    given |= {name: annotate(tmp_path / name, GRADES) for name in ("prior", "beside")}
    fit_clicks(local, tmp_path / "clicks", **given)
    files = {
        path.relative_to(tmp_path / "clicks").as_posix()
        for path in (tmp_path / "clicks").rglob("*")
        if path.is_file()
    }
    assert "click_model/2/pairs.parquet" in files
    for name in files - {"job.json", "propensities.svg"}:
        assert (store / "clicks" / name).read_bytes() == (tmp_path / "clicks" / name).read_bytes()
    assert json.loads((store / "clicks" / "job.json").read_text())["complete"]
    assert PositionBasedModel.load(store / "clicks" / "click_model" / "1").relevance().num_rows == 3
    with pytest.raises(InputError, match="--resume"):
        fit_clicks(collection, store / "clicks", **given)


def test_many_labels_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = write_log(tmp_path / "collection", SESSIONS)
    fit_clicks(collection, tmp_path / "whole", resamples=0)
    for name in ("ROWS_OF_FILE", "ROWS_OF_PART"):
        monkeypatch.setattr(f"clicks.labels.{name}", 1)
    fit_clicks(collection, tmp_path / "parted", resamples=0)
    assert len(list((tmp_path / "parted" / "click_labels.parquet").iterdir())) == 2
    whole, parted = (read_table(tmp_path / name, "click_labels") for name in ("whole", "parted"))
    assert parted.equals(whole)


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
    assert not (tmp_path / "clicks").exists()


def test_results_of_an_unknown_propensity_are_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Documents of the positions 1 and 2 change places; c, at position 3, never does."""
    pages = [["a", "b", "c"], ["b", "a", "c"]] * 2
    clicks = [[True, False, True], [True, False, False], [False, True, False], [False, True, False]]
    log = pa.table([list("1234"), ["q"] * 4, pages, clicks], schema=SCHEMAS["sessions"])
    collection = write_log(tmp_path / "collection", log)
    fit_clicks(collection, tmp_path / "ipw", resamples=2)
    labels = read_table(tmp_path / "ipw", "click_labels")
    assert labels["doc_id"].to_pylist() == ["a", "b"]
    assert labels["impressions"].to_pylist() == [4, 4]
    printed = " ".join(capsys.readouterr().out.split())
    assert "the log does not tell that of position 3" in printed
    assert "its 4 impressions and 1 clicks" in printed
    table = pq.read_table(tmp_path / "ipw" / "propensities.parquet")
    assert [table[name].is_null().to_pylist()[2] for name in ("propensity", "low")] == [True] * 2
    fit_clicks(collection, tmp_path / "pbm", "PositionBasedModel", resamples=0)
    assert "how much position 3 is examined" in " ".join(capsys.readouterr().out.split())
    assert read_table(tmp_path / "pbm", "click_labels")["doc_id"].to_pylist() == ["a", "b", "c"]


def test_contexts_are_told_apart_by_a_column_of_the_log(tmp_path: Path) -> None:
    devices = SESSIONS.append_column("device", pa.array(["tv", "tv", "tv", "phone"]))
    collection = write_log(tmp_path / "collection", devices)
    fit_clicks(collection, tmp_path / "clicks", context="device", resamples=2)
    table = pq.read_table(tmp_path / "clicks" / "propensities.parquet")
    assert table["context"].to_pylist() == ["phone", "tv", "tv"]
    assert table["impressions"].to_pylist() == [1, 3, 3]
    for column, message in (
        ("browser", "no column 'browser'"),
        ("query_id", "'query_id' is a part of each session"),
    ):
        with pytest.raises(InputError, match=message):
            fit_clicks(collection, tmp_path / "others", context=column)
    assert not (tmp_path / "others").exists()


def test_sessions_without_a_context_are_set_aside_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve sessions, a query for each device, and one for those without any."""
    twelve = pa.table(
        [
            [str(n) for n in range(12)],
            [f"q{n % 3}" for n in range(12)],
            [["a", "b"]] * 12,
            [[True, False]] * 12,
        ],
        schema=SCHEMAS["sessions"],
    )
    device = pa.array(["phone", "tv", None] * 4)
    for kind, column in (("text", device), ("code", device.dictionary_encode())):
        folder = tmp_path / kind
        queries = pa.table([["q0", "q1", "q2"], ["x", "y", "z"], [4] * 3], schema=QUERIES)
        write_log(folder / "collection", twelve.append_column("device", column), queries)
        fit_clicks(folder / "collection", folder / "clicks", context="device", resamples=2)
        labels = read_table(folder / "clicks", "click_labels").to_pylist()
        assert [(row["query_id"], row["doc_id"], row["impressions"]) for row in labels] == [
            (query_id, doc_id, 4) for query_id in ("q0", "q1") for doc_id in ("a", "b")
        ]
        assert [row["relevance"] for row in labels] == [1.0, 0.0, 1.0, 0.0]
        assert "4 sessions without a device are set aside" in capsys.readouterr().out
    empty = twelve.append_column("device", pa.nulls(12))
    collection = write_log(tmp_path / "none" / "collection", empty, queries)
    with pytest.raises(InputError, match="'device' is null in every session"):
        fit_clicks(collection, tmp_path / "none" / "clicks", context="device")


def test_a_click_model_of_each_context_has_its_own_examination(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sessions, examination = 6_000, {"phone": 0.2, "tv": 0.8}
    attractiveness = np.array([0.3, 0.6])
    device = np.repeat(list(examination), sessions // 2)
    second = np.repeat(list(examination.values()), sessions // 2)
    # b stands below a on phones, and above it on televisions, three times of four.
    b_first = (rng.random(sessions) < 0.75) == (device == "tv")
    shown = np.where(b_first[:, None], [1, 0], [0, 1])
    chance = attractiveness[shown] * np.stack([np.ones(sessions), second], axis=1)
    log = pa.table(
        [
            [str(n) for n in range(sessions)],
            ["q"] * sessions,
            np.array(["a", "b"])[shown].tolist(),
            (rng.random((sessions, 2)) < chance).tolist(),
        ],
        schema=SCHEMAS["sessions"],
    )
    collection = write_log(tmp_path / "collection", log.append_column("device", pa.array(device)))
    errors = []
    for context in ("device", None):
        output = tmp_path / f"by-{context}"
        fit_clicks(collection, output, "PositionBasedModel", context=context, resamples=0)
        labels = read_table(output, "click_labels")
        assert labels["impressions"].to_pylist() == [sessions] * 2
        errors.append(np.abs(labels["relevance"].to_numpy() - attractiveness).max())
    assert errors[0] < 0.03
    assert errors[1] > 2 * errors[0]
    for number, truth in enumerate(examination.values(), 1):
        model = PositionBasedModel.load(tmp_path / "by-device" / "click_model" / str(number))
        assert model.examination_[1] == pytest.approx(truth, abs=0.05)


def test_sessions_that_training_may_not_read_shape_no_label(
    tiny_collection: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """q1 is for training; q2, which is judged, for validation, and q3 for test."""
    shown = tiny_collection.sessions.slice(0, 1).to_pylist()[0]
    rows = [
        shown | {"session_id": f"{query}{n}", "query_id": query}
        for query in ("q1", "q2", "q3")
        for n in range(3)
    ]
    log = replace(tiny_collection, sessions=pa.Table.from_pylist(rows, SCHEMAS["sessions"]))
    judged = log.judgments
    for name, supervised, judgments, expected in (
        ("strict", [True, False, False], judged, ["q1"]),
        ("production", [True, True, False], judged, ["q1", "q2"]),
        # Where nobody judged a validation query, its labels are what validation measures by.
        ("unjudged", [True, False, False], empty_table("judgments"), ["q1", "q2"]),
    ):
        splits = log.splits.set_column(3, "supervised", pa.array(supervised))
        write_collection(replace(log, splits=splits, judgments=judgments), tmp_path / name)
        fit_clicks(tmp_path / name, tmp_path / f"{name} clicks", resamples=0)
        labels = read_table(tmp_path / f"{name} clicks", "click_labels")
        assert sorted(set(labels["query_id"].to_pylist())) == expected
        count = 3 * (3 - len(expected))
        assert f"left out: {count} sessions of {count // 3} queries" in capsys.readouterr().out
        # Neither do grades of such queries.
        doc_id = shown["doc_ids"][0]
        prior = annotate(tmp_path / name / "grades", {(q, doc_id): 2.0 for q in ("q1", "q2", "q3")})
        fit_clicks(tmp_path / name, tmp_path / f"{name} fused", prior=prior, resamples=0)
        fused = read_table(tmp_path / f"{name} fused", "click_labels")
        assert sorted(set(fused["query_id"].to_pylist())) == expected
