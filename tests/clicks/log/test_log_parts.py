"""A log that is encoded part by part, or summed, says what the whole one does."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from clicks import DocumentCTR, DynamicBayesianNetwork, PositionBasedModel
from clicks.labels import model_labels, plain_labels, weighted_labels
from clicks.log import large_arrays, log_parts
from clicks.log.click_log import ClickLog, read_click_log
from clicks.log.log_parts import encode_part, join_logs, join_parts, sum_results
from clicks.models import files
from clicks.models.base import ClickModel
from clicks.propensities import estimate, tabulate
from corpus.errors import InputError
from corpus.places import Place, place_of
from corpus.schemas import SCHEMAS

NONE_WITHHELD = pa.array([], pa.string())


@pytest.fixture(scope="module")
def sessions() -> pa.Table:
    """Queries of very different frequency, with pages of one to four of five documents."""
    rng = np.random.default_rng(0)
    count = 3_000
    query = np.minimum(rng.zipf(1.5, count), 40)
    pages = [[f"d{doc}" for doc in (rng.permutation(5) + q)[: rng.integers(1, 5)]] for q in query]
    clicks = [
        (rng.random(len(page)) < 0.5 / np.arange(1, len(page) + 1)).tolist() for page in pages
    ]
    ids = [str(row) for row in range(count)]
    table = pa.table([ids, query.astype(str).tolist(), pages, clicks], schema=SCHEMAS["sessions"])
    return table.append_column("device", pa.array(rng.choice(["phone", "desk", None], count)))


def in_parts(sessions: pa.Table, summed: bool) -> ClickLog:
    query = sessions["query_id"].to_numpy().astype(int)
    parts = [
        encode_part(sessions.filter(query % 3 == part), None, NONE_WITHHELD, summed)
        for part in range(3)
    ]
    return join_parts(parts, None, place_of("sessions.parquet"))["all"].log


@pytest.mark.parametrize(
    ("model", "summed"),
    [(PositionBasedModel, True), (DocumentCTR, True), (DynamicBayesianNetwork, False)],
)
def test_models_learn_the_same(model: type[ClickModel], summed: bool, sessions: pa.Table) -> None:
    whole, log = model().fit(sessions), in_parts(sessions, summed)
    parted = model().fit_log(log)
    expected, found = whole.relevance(), parted.relevance()
    assert found.drop_columns("relevance").equals(expected.drop_columns("relevance"))
    np.testing.assert_allclose(found["relevance"], expected["relevance"], rtol=1e-3)
    assert parted.perplexity_of_log(log) == pytest.approx(whole.perplexity(sessions), rel=1e-4)


@pytest.mark.parametrize("summed", [True, False])
def test_mapped_files_and_pieces_make_no_difference(
    summed: bool, sessions: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fitted(sessions, summed, place_of(tmp_path / "plain"))
    monkeypatch.setattr(large_arrays, "MOST_BYTES", 0)
    monkeypatch.setattr(log_parts, "MOST_BYTES", 0)
    monkeypatch.setattr(large_arrays, "AT_ONCE", 50)
    monkeypatch.setattr(files, "ROWS_AT_ONCE", 7)
    mapped = fitted(sessions, summed, place_of(tmp_path / "mapped"))
    for expected, found in zip(plain, mapped, strict=True):
        assert found.drop_columns("relevance").equals(expected.drop_columns("relevance"))
        np.testing.assert_allclose(found["relevance"], expected["relevance"], rtol=1e-9)


def fitted(sessions: pa.Table, summed: bool, folder: Place) -> list[pa.Table]:
    """Propensities, as a table of labels, and the labels of a model and of its saved copy."""
    log = in_parts(sessions, summed)
    found = estimate(log, "em")
    table = tabulate(found, resamples=5).drop_columns(["low", "high"])
    model = PositionBasedModel().fit_log(log)
    model.save(folder)
    weighted = weighted_labels([(log, np.minimum(found.propensity, 1.0))], 20.0)
    saved = PositionBasedModel.load(folder).relevance()
    propensities = table.rename_columns({"propensity": "relevance"})
    return [propensities, plain_labels(weighted), plain_labels(model_labels(model, log)), saved]


@pytest.mark.parametrize("method", ["em", "all_pairs"])
def test_propensities_are_the_same(method: str, sessions: pa.Table) -> None:
    whole, parted = (
        estimate(log, method) for log in (read_click_log(sessions), in_parts(sessions, True))
    )
    np.testing.assert_allclose(parted.propensity, whole.propensity, rtol=1e-3)
    for name in ("linked_pairs", "impressions", "clicks"):
        assert getattr(parted, name).tolist() == getattr(whole, name).tolist()


def test_sums_do_not_grow_with_the_traffic(sessions: pa.Table) -> None:
    once = sum_results(read_click_log(sessions))
    names = pa.array([f"again {name}" for name in sessions["session_id"].to_pylist()])
    twice = pa.concat_tables([sessions, sessions.set_column(0, "session_id", names)])
    again = sum_results(read_click_log(twice))
    assert len(again.pair) == len(once.pair) < len(read_click_log(sessions).pair) / 3
    assert again.sessions.tolist() == (2 * once.sessions).tolist()


def test_threads_that_work_on_joined_logs_share_no_pair(sessions: pa.Table) -> None:
    query = sessions["query_id"].to_numpy().astype(int)
    logs = [read_click_log(sessions.filter(query % 40 == part)) for part in range(40)]
    log = join_logs(logs)
    assert 2 < len(log.parts) <= 33
    pairs = [
        set(log.pair[log.starts[begin] : log.starts[end]].tolist())
        for begin, end in zip(log.parts[:-1], log.parts[1:], strict=True)
    ]
    assert sum(map(len, pairs)) == len(set.union(*pairs)) == len(log.pairs.query)


def test_contexts_of_parts_are_brought_together_and_the_rest_is_counted(
    sessions: pa.Table, capsys: pytest.CaptureFixture[str]
) -> None:
    query = sessions["query_id"].to_numpy().astype(int)
    withheld = pa.array(["1", "2"])
    parts = [
        encode_part(sessions.filter(query % 2 == part), "device", withheld, True)
        for part in range(2)
    ]
    logs = join_parts(parts, "device", place_of("sessions.parquet"))
    assert list(logs) == ["desk", "phone"]
    kept = sessions.filter(pa.array(query > 2))
    devices = kept["device"].to_pylist()
    assert [log.sessions for log in logs.values()] == [
        devices.count(name) for name in ("desk", "phone")
    ]
    said = capsys.readouterr().out
    assert f"left out: {(query <= 2).sum():,} sessions of 2 queries" in said
    assert f"{devices.count(None):,} sessions without a device are set aside" in said
    none = encode_part(kept.filter(kept["device"].is_null()), "device", withheld, True)
    with pytest.raises(InputError, match="'device' is null in every session"):
        join_parts([none], "device", place_of("sessions.parquet"))


def test_a_part_that_shows_nothing_takes_nothing_from_the_others() -> None:
    pages = [["a", "b"], [], []]
    columns = [list("123"), ["q", "r", "r"], pages, [[True, False], [], []]]
    log = pa.table(columns, schema=SCHEMAS["sessions"])
    parts = [
        encode_part(log.slice(start, length), None, NONE_WITHHELD, True)
        for start, length in ((0, 1), (1, 2), (3, 0))
    ]
    path = place_of("sessions.parquet")
    assert join_parts(parts, None, path)["all"].sessions == 1
    with pytest.raises(InputError, match="empty in every row"):
        join_parts(parts[1:], None, path)
    with pytest.raises(InputError, match="no sessions to learn from"):
        join_parts(parts[2:], None, path)
