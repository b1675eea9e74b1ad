"""Sessions counted by Ray Data over many files are the sessions counted in one process."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster

from clicks import DynamicBayesianNetwork, PositionBasedModel, distinct_sessions
from clicks.fit_clicks import fit_clicks
from clicks.log.distributed import count_sessions
from corpus import window
from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.readers import log_format, log_tables
from corpus.schemas import SCHEMAS
from corpus.sources import OwnLogFiles
from corpus.tables import read_collection, read_table, write_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_nodes(own_cluster: None) -> Iterator[None]:
    """A cluster of two nodes on this machine."""
    node = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def sessions() -> pa.Table:
    rng = np.random.default_rng(0)
    count = 4_000
    query = np.minimum(rng.zipf(1.5, count), 50)
    docs = rng.permuted(np.tile(np.arange(4), (count, 1)), axis=1)
    clicks = rng.random((count, 4)) < 0.4 / np.arange(1, 5)
    names = np.char.add(np.char.add(query[:, None].astype(str), "-"), docs.astype(str))
    ids = [str(row) for row in range(count)]
    device = rng.choice(["phone", "desk"], count)
    columns = [ids, query.astype(str).tolist(), names.tolist(), clicks.tolist()]
    return pa.table(columns, schema=SCHEMAS["sessions"]).append_column("device", pa.array(device))


def write_parts(sessions: pa.Table, folder: Path, parts: int) -> Path:
    folder.mkdir(parents=True)
    size = -(-sessions.num_rows // parts)
    for part in range(parts):
        pq.write_table(sessions.slice(part * size, size), folder / f"part-{part}.parquet")
    return folder


def counted(table: pa.Table, *columns: str) -> dict[tuple[object, ...], int]:
    keys = [table[name].to_pylist() for name in ("query_id", "doc_ids", "clicks", *columns)]
    rows = zip(*keys, table["sessions"].to_pylist(), strict=True)
    return {(q, tuple(d), tuple(c), *more, n): n for q, d, c, *more, n in rows}


def test_two_nodes_count_and_fit_as_one_process_does(
    two_nodes: None, sessions: pa.Table, tmp_path: Path
) -> None:
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    folder = write_parts(sessions, tmp_path / "sessions.parquet", 4)
    together = count_sessions(folder)
    assert counted(together) == counted(distinct_sessions(sessions))
    for kind in (PositionBasedModel, DynamicBayesianNetwork):
        alone, joined = kind().fit(sessions), kind().fit(together)
        # Sums in another order end the optimizer elsewhere within its tolerance.
        np.testing.assert_allclose(
            joined.relevance()["relevance"], alone.relevance()["relevance"], rtol=1e-3
        )
        for name in kind.numbers:
            np.testing.assert_allclose(getattr(joined, name), getattr(alone, name), rtol=1e-3)
    by_device = count_sessions(folder, by="device")
    expected = distinct_sessions(sessions, by="device")
    assert counted(by_device, "device") == counted(expected, "device")
    # Counts are counts again.
    again = write_parts(expected, tmp_path / "counted.parquet", 3)
    assert counted(count_sessions(again, by="device"), "device") == counted(expected, "device")


def test_labels_of_a_long_log_are_those_of_a_short_one(
    two_nodes: None,
    sessions: pa.Table,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_parts(sessions, tmp_path / "parts" / "sessions.parquet", 3)
    write_table(sessions, tmp_path / "file", "sessions")
    labels, said = [], []
    for name, rows_at_once in (("parts", 0), ("file", 0), ("file", 10**6)):
        monkeypatch.setattr("clicks.fit_clicks.ROWS_AT_ONCE", rows_at_once)
        output = tmp_path / f"{name}-{rows_at_once}"
        fit_clicks(tmp_path / name, output, propensity="pivot_one", context="device", resamples=0)
        labels.append(read_table(output, "click_labels"))
        said.append(capsys.readouterr().out.replace("\n", " ").partition("Ray: ")[0])
    for others in labels[1:]:
        assert labels[0].drop_columns("relevance").equals(others.drop_columns("relevance"))
        np.testing.assert_allclose(labels[0]["relevance"], others["relevance"])
    assert len({line[line.index("propensities of") :] for line in said}) == 1


def test_bad_files_are_named_not_traced(
    two_nodes: None, sessions: pa.Table, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no column 'browser'"):
        count_sessions(write_parts(sessions, tmp_path / "parts", 2), by="browser")
    with pytest.raises(InputError, match="no parquet file"):
        count_sessions(tmp_path / "none")
    unequal = sessions.slice(0, 3).set_column(
        3, "clicks", pa.array([[True], [False], [True]], pa.list_(pa.bool_()))
    )
    unequal = unequal.set_column(0, "session_id", pa.array(["x", "y", "z"]))
    folder = write_parts(pa.concat_tables([sessions, unequal]), tmp_path / "bad", 3)
    with pytest.raises(InputError, match="another length than doc_ids"):
        count_sessions(folder)


def test_shards_of_a_log_are_read_by_tasks(
    two_nodes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        json.dumps({"query": f"q{n % 3}", "doc_ids": [f"d{n % 5}", "x"], "clicks": [n % 2, 0]})
        for n in range(40)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    (tmp_path / "documents.jsonl").write_text('{"doc_id": "x", "title": "X"}')
    source = OwnLogFiles(tmp_path / "log.jsonl", tmp_path / "documents.jsonl")
    prepare(tmp_path / "here", source)
    monkeypatch.setattr(log_format, "SHARD_BYTES", 500)
    assert len(source.log().shards(Counter())) > 3
    monkeypatch.setattr(log_tables, "FEW_SHARDS", 1)
    monkeypatch.setattr(window, "FEW_PARTS", 0)
    prepare(tmp_path / "tasks", source)
    assert read_collection(tmp_path / "tasks") == read_collection(tmp_path / "here")
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'\n{"query": "\xe9"}')
    with pytest.raises(InputError, match=r"log.jsonl: line 41 is not JSON in UTF-8: byte 12"):
        prepare(tmp_path / "bad", source)
