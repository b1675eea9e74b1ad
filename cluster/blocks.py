"""Blocks that Ray Data passes on whole, also to actors with a GPU."""

import numpy as np
import pyarrow as pa


def table_as_row(table: pa.Table) -> pa.Table:
    """A table as one row, each column a list, for `map_batches(..., batch_size=1)`.

    Ray Data takes no `batch_size=None`, which is a block as it is, together with `num_gpus`; with
    any number it joins blocks that have fewer rows, and cuts those that have more.

    Args:
        table: a table with at least one row.

    >>> table_as_row(pa.table({"pair": [4, 2]})).to_pydict()
    {'pair': [[4, 2]]}
    """
    whole = np.array([0, table.num_rows])
    columns = {
        name: pa.LargeListArray.from_arrays(whole, table[name].combine_chunks())
        for name in table.column_names
    }
    return pa.table(columns)


def table_of_row(row: pa.Table) -> pa.Table:
    """Undoes `table_as_row`.

    Args:
        row: a table with one row, each column a list.
    """
    return pa.table({name: row[name].combine_chunks().flatten() for name in row.column_names})
