"""Parts of the table sessions, whose ids of queries and documents stay numbers in reading them.

Nobody looks for the least and the most of a part's ids, and ids that come once each gain nothing by
a dictionary: without these a part is written in half the time.
"""

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.places import Place, arrow_files, whole_file

CODED_PATHS = ["query_id", "doc_ids.list.element"]
UNLIKE = {"session_id", "doc_ids", "clicks", "time"}  # columns that gain nothing by a dictionary


def write_session_part(table: pa.Table, path: Place) -> None:
    """Writes sessions so that a kill leaves either the old file or the new one.

    Args:
        table: sessions, whose query_id and doc_ids may be dictionary-coded; who reads the file
            finds strings.
        path: the file.
    """
    contexts = [name for name in table.column_names if name not in UNLIKE]
    with whole_file(path) as file:
        pq.write_table(
            table,
            file,
            use_dictionary=[*CODED_PATHS, *contexts],
            write_statistics=False,
            store_schema=False,
        )


def read_session_part(path: Place) -> pa.Table:
    """Reads a part that `write_session_part` wrote, query_id and doc_ids dictionary-coded."""
    files, inside = arrow_files(path)
    with pq.ParquetFile(inside, filesystem=files, read_dictionary=CODED_PATHS) as file:
        return file.read()
