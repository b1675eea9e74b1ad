"""What a system measures on each part of a large collection, where the parts lie, and on all.

A part gives back rows of `RESULTS`; what is of pairs goes into files.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.documents import open_documents, refuse_pages, rows_of_part
from corpus.places import Place, arrow_files, write_whole
from corpus.query_parts import QueryPart
from corpus.tables import write_parquet
from evaluation.measuring import RESULTS, SUM, Measured, Truth, as_results, measure_tables
from evaluation.trec_reading import REPEATED, candidates_of_lines


@dataclass(frozen=True)
class MeasurePart:
    """Measures a system on a part, for `corpus.by_query`; what is of pairs it writes into files.

    Attributes:
        collection: folder of the collection, for its documents.
        folder: of the files.
        truth: what to measure by.
        name: of the system.
        run: the file of the system's TREC run, for messages.
    """

    collection: Place
    folder: Place
    truth: Truth
    name: str
    run: Place | None = None

    def __call__(self, part: QueryPart) -> pa.Table:
        """Returns `RESULTS`."""
        set_aside: Counter[str] = Counter()
        if "runs" in part.tables:
            lines = part.tables["runs"]
            ranked = candidates_of_lines(lines, self.run or self.name, set_aside)
            if self.run is None:  # scores of a ranker, as it gave them
                place = ranked.schema.get_field_index("score")
                ranked = ranked.set_column(place, "score", ranked["score"].cast(pa.float32()))
            part.tables["runs"] = ranked
        else:
            documents = open_documents(self.collection)
            for name in ("candidates", "judgments"):
                rows_of_part(part, name, documents)
            refuse_pages(part, "held_out_sessions", documents)
        given = self.run is not None
        measured = measure_tables(part.tables, self.truth, self.name, given)
        number = f"part-{part.number:06d}"
        for text in measured.lines:
            write_whole(self.folder / "lines" / number, text)
        for traffic in measured.traffic:
            table = pa.Table.from_pandas(traffic, preserve_index=False)
            write_parquet(table, self.folder / "traffic" / number)
        repeated = pd.DataFrame({"kind": [SUM], "name": [REPEATED], "value": [set_aside.total()]})
        return pa.concat_tables([measured.results, as_results(repeated)])


def measured_parts(results: Iterable[pa.Table], folder: Place) -> Measured:
    """What a system measures, of all parts.

    Args:
        results: from `MeasurePart`.
        folder: of its files.
    """
    together = pa.concat_tables([RESULTS.empty_table(), *results])
    return Measured(together, _Texts(folder / "lines"), _Tables(folder / "traffic"))


@dataclass(frozen=True)
class _Texts:
    folder: Place

    def __iter__(self) -> Iterator[str]:
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name):
            yield path.read_text(encoding="utf-8")


@dataclass(frozen=True)
class _Tables:
    folder: Place

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for path in sorted(self.folder.iterdir(), key=lambda path: path.name):
            files, inside = arrow_files(path)
            with files.open_input_file(inside) as file:
                yield pq.ParquetFile(file).read().to_pandas()
