from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankers.data.sampler import EpochOrder
from rankers.data.store import LISTS_PER_BATCH, ListFile, write_lists


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
