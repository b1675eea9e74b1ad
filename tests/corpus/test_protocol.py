"""What training may read and what it is measured on, as `prepare` writes it."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.protocol import Parting, part_queries
from corpus.schemas import empty_table
from corpus.sources import TablesFolder
from corpus.tables import Collection, read_collection, write_collection, write_table
from tests.conftest import make_table
from tests.corpus.prepared import WORLD


def unsplit(frequency: list[int], judged: list[int]) -> Collection:
    """Queries q0, q1 and so on; the rows `judged` are judged; one document."""
    rows = [(f"q{row}", "fox", often) for row, often in enumerate(frequency)]
    return Collection(
        queries=make_table("queries", list(rows)),
        documents=make_table("documents", [("d1", "fox", "")]),
        candidates=empty_table("candidates"),
        sessions=empty_table("sessions"),
        judgments=make_table("judgments", [(f"q{row}", "d1", 1) for row in judged]),
        splits=empty_table("splits"),
    )


def test_judged_queries_of_the_log_may_train_in_production_and_never_under_strict() -> None:
    collection = unsplit([*range(20)], list(range(0, 20, 2)))
    splits = part_queries(collection, Parting(), 0, "mine").splits.to_pandas()
    judged, searched = splits.index % 2 == 0, splits.index > 0
    assert set(splits["split"][judged]) == {"validation", "test"}
    assert set(splits["split"][~judged]) == {"train"}
    assert splits["supervised"].tolist() == [
        not now or known for now, known in zip(judged, searched, strict=True)
    ]
    strict = part_queries(collection, Parting(protocol="strict"), 0, "mine").splits.to_pandas()
    assert (strict["supervised"] == (strict["split"] == "train")).all()
    assert (strict["split"][~judged] == "train").all()
    assert (strict["split"] == "train").sum() == 12


def test_without_a_log_and_without_judgments_there_is_something_to_train_on() -> None:
    no_log = part_queries(unsplit([0] * 10, list(range(10))), Parting(), 0, "mine").splits
    assert no_log["supervised"].to_pylist().count(True) == 6
    nobody = part_queries(unsplit([5] * 10, []), Parting(), 0, "mine").splits
    assert nobody["split"].to_pylist().count("train") == 6
    assert nobody["supervised"] == pa.chunked_array(
        [[split == "train" for split in nobody["split"].to_pylist()]]
    )


def test_ones_own_splits_are_kept_and_completed(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    own = pa.table({"query_id": ["q2", "q1"], "split": ["test", "validation"], "team": ["a", "b"]})
    write_collection(replace(tiny_collection, splits=empty_table("splits")), tmp_path / "mine")
    write_table(own, tmp_path / "mine", "splits")
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    splits = read_collection(tmp_path / "out").splits
    assert splits.column_names == ["query_id", "split", "bucket", "supervised", "team"]
    assert splits.select(["query_id", "split", "team"]) == own
    assert splits["bucket"].to_pylist() == ["low", "medium"]
    assert splits["supervised"].to_pylist() == [True, True]


def test_splits_that_supervise_what_strict_forbids_are_refused(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    told = make_table("splits", [("q1", "train", "low", True), ("q2", "test", "low", True)])
    write_collection(replace(tiny_collection, splits=told), tmp_path / "mine")
    source = TablesFolder(tmp_path / "mine")
    with pytest.raises(InputError, match=r"mine/splits.parquet: .*1 queries.*'q2'.*strict forbids"):
        prepare(tmp_path / "out", source, protocol="strict")
    prepare(tmp_path / "out", source)


def test_judged_documents_are_candidates_of_queries_without_others_but_not_for_test(
    tiny_collection: Collection,
) -> None:
    splits = make_table(
        "splits",
        [(f"q{n}", split, "low", True) for n, split in ((1, "train"), (2, "train"), (3, "test"))],
    )
    grades = [("q1", "d4", 1), ("q2", "d4", 1), ("q2", "d1", 0), ("q3", "d1", 1)]
    collection = replace(
        tiny_collection,
        splits=splits,
        candidates=tiny_collection.candidates.slice(0, 2),
        judgments=make_table("judgments", list(grades)),
    )
    kept = part_queries(collection, Parting(), 0, "mine")
    assert kept.candidates == collection.candidates
    planted = part_queries(collection, Parting(judged_candidates=True), 0, "mine").candidates
    assert planted.slice(2).to_pylist() == [
        {"query_id": "q2", "doc_id": "d1", "rank": 1, "score": -1.0},
        {"query_id": "q2", "doc_id": "d4", "rank": 2, "score": -1.0},
    ]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"held_out": 1.0}, "held_out must be at least 0 and below 1, not 1.0"),
        ({"held_out": -0.1}, "held_out must be"),
        ({"held_out": float("nan")}, "held_out must be"),
        ({"bucket_cuts": (7, 3)}, "bucket_cuts must be 0 <= medium <= low <= 10"),
        ({"bucket_cuts": (3, 11)}, "bucket_cuts must be"),
    ],
)
def test_settings_that_no_data_could_make_right_are_refused_first(
    settings: dict[str, object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        prepare(tmp_path / "out", WORLD, **settings)
    assert not (tmp_path / "out").exists()


def test_the_settings_of_the_protocol_are_recorded(tmp_path: Path) -> None:
    prepare(tmp_path, WORLD, protocol="strict", held_out=0.5, bucket_cuts=(1, 2))
    prepare(tmp_path, WORLD, protocol="strict", held_out=0.5, bucket_cuts=(1, 2), resume=True)
    for other in ({"protocol": "production"}, {"held_out": 0.2}, {"bucket_cuts": (3, 7)}):
        settings = {"protocol": "strict", "held_out": 0.5, "bucket_cuts": (1, 2)} | other
        with pytest.raises(InputError, match=f"begun with {next(iter(other))}"):
            prepare(tmp_path, WORLD, **settings, resume=True)


def test_what_is_said_of_a_log_in_which_every_query_occurs_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_collection(unsplit([1] * 10, [0, 1, 2]), tmp_path / "mine")
    prepare(tmp_path / "out", TablesFolder(tmp_path / "mine"))
    assert (
        "queries: 7 train, 1 validation, 2 test; 0 high, 0 medium, 10 low; 10 may train"
        in capsys.readouterr().out
    )
