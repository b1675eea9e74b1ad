from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankers.data import sampler
from rankers.data.sampler import EpochOrder
from rankers.data.store import LISTS_PER_BATCH, ListFile, write_counts, write_lists


def table(first: int, rows: int) -> pa.Table:
    numbers = range(first, first + rows)
    ids = [[[number, 1], [number]] for number in numbers]
    return pa.table({"number": numbers, "input_ids": pa.array(ids, pa.list_(pa.list_(pa.int32())))})


def test_lists_are_read_in_any_order_across_batches(tmp_path: Path) -> None:
    sizes = [3, LISTS_PER_BATCH + 5, 1]
    starts = np.cumsum([0, *sizes])
    write_lists(map(table, starts[:-1].tolist(), sizes), tmp_path / "lists.arrow")
    lists = ListFile(tmp_path / "lists.arrow")
    assert len(lists) == sum(sizes)
    rows = np.array([LISTS_PER_BATCH + 8, 0, 2, 3, LISTS_PER_BATCH + 3, 3])
    read = lists.take(rows)
    assert read["number"].to_pylist() == rows.tolist()
    assert read["input_ids"].to_pylist() == [[[row, 1], [row]] for row in rows.tolist()]
    assert lists.take(np.array([], np.int64)).num_rows == 0


def test_a_file_that_was_cut_short_is_not_there(tmp_path: Path) -> None:
    def interrupted() -> pa.Table:
        yield table(0, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lists(interrupted(), tmp_path / "lists.arrow")
    assert not (tmp_path / "lists.arrow").exists()


@given(lists=st.integers(1, 80), per_step=st.integers(1, 20), seed=st.integers(0, 3))
def test_an_epoch_has_each_list_once_in_steps_of_about_one_size(
    lists: int, per_step: int, seed: int
) -> None:
    order = EpochOrder([lists], per_step, seed, epoch=1)
    assert sorted(np.concatenate(order)) == list(range(lists))
    sizes = [len(step) for step in order]
    assert max(sizes) <= per_step
    assert max(sizes) - min(sizes) <= 1


def test_the_order_is_another_in_each_epoch_and_the_same_again() -> None:
    first, second, again = (EpochOrder([50], 50, 3, epoch)[0].tolist() for epoch in (0, 1, 0))
    assert first == again != second


def test_lists_of_many_files_have_the_order_of_one_file_where_a_window_takes_them_all() -> None:
    order = EpochOrder([7, 1, 12], 6, 3, epoch=2)
    whole = np.random.default_rng([3, 2]).permutation(20)
    assert [rows.tolist() for rows in order] == [s.tolist() for s in np.array_split(whole, 4)]


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    per_step=st.integers(1, 8),
    epoch=st.integers(0, 2),
    data=st.data(),
)
def test_a_window_is_of_few_files_and_an_epoch_begins_anywhere(
    counts: list[int], per_step: int, epoch: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "LISTS_OF_WINDOW", 10)
        order = EpochOrder(counts, per_step, 0, epoch)
        steps = list(order)
        assert sorted(np.concatenate(steps)) == list(range(sum(counts)))
        sizes = [len(step) for step in steps]
        assert len(steps) == len(order)
        assert max(sizes) <= per_step
        assert max(sizes) - min(sizes) <= 1
        first = data.draw(st.integers(0, len(order) - 1))
        rest = list(EpochOrder(counts, per_step, 0, epoch, first))
        assert [rows.tolist() for rows in rest] == [rows.tolist() for rows in steps[first:]]
        file = np.repeat(np.arange(len(counts)), counts)
        window = file[np.concatenate(steps)][:10]
        # The first ten lists are of the files that together have ten, and one more at most.
        assert sum(counts[number] for number in np.unique(window)) <= 10 + 2 * max(counts)


def test_files_of_a_folder_are_read_as_one(tmp_path: Path) -> None:
    sizes = [3, LISTS_PER_BATCH + 5, 1]
    starts = np.cumsum([0, *sizes])
    for number, size in enumerate(sizes):
        write_lists([table(int(starts[number]), size)], tmp_path / f"{number}.arrow")
    write_counts({f"{number}.arrow": size for number, size in enumerate(sizes)}, tmp_path)
    lists = ListFile(tmp_path)
    assert (len(lists), lists.counts) == (sum(sizes), sizes)
    rows = np.array([LISTS_PER_BATCH + 8, 0, 2, 3, LISTS_PER_BATCH + 3, 3])
    assert lists.take(rows)["number"].to_pylist() == rows.tolist()
    assert lists.columns(["number", "other"], rows).to_pydict() == {"number": rows.tolist()}
    assert lists.columns(["number"], rows[:0]).num_rows == lists.take(rows[:0]).num_rows == 0
