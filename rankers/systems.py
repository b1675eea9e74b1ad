"""What an evaluation measures: the first stage, TREC runs and rankers, on one split's queries.

A small collection is read here. Of a large one each system is measured part by part, where the
parts lie, and what comes back is a row for each measure of each query.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from cluster.connection import connect
from corpus.by_query import by_query, table_files
from corpus.documents import open_documents
from corpus.errors import InputError
from corpus.names import file_name
from corpus.places import Place, remove
from corpus.row_groups import read_footers, read_span
from corpus.tables import Collection, read_collection, table_path
from evaluation.given_runs import FIRST_STAGE
from evaluation.measured_parts import MeasurePart, measured_parts
from evaluation.measuring import TABLES, Measured, Truth, measure_tables
from evaluation.traffic import read_propensities
from evaluation.trec_reading import REPEATED, read_trec_run, say_set_aside
from rankers.data.lists import candidate_ids
from rankers.scoring.lists import convert_run, fits_in_memory
from rankers.scoring.pieces import CutPieces, pieces_of, read_piece
from rankers.scoring.pool import Pool
from rankers.scoring.write import score_files, score_lists

RUN_COLUMNS = ["query_id", "doc_id", "rank", "score"]


class Systems(Protocol):
    """The systems of an evaluation, each of which is measured."""

    def identity(self) -> dict[str, Any]:
        """What else decides in which piece a pair is scored, for `begin_output`."""

    def measure_first_stage(self, scratch: Place) -> Measured:
        """Measures the order of the candidates; other methods come after it."""

    def measure_run(self, name: str, run: Place, scratch: Place) -> Measured:
        """Measures a TREC run."""

    def measure_rankers(
        self, places: Mapping[str, str], scratch: Place, pool: Pool
    ) -> dict[str, Measured]:
        """Scores with rankers what is not scored, and measures them."""

    def judgments_of(self, query_ids: set[str]) -> Iterator[pa.Table]:
        """The human judgments of some queries, some at a time."""

    def titles(self, doc_ids: "pd.Series[str]") -> pd.DataFrame:
        """doc_id and title of some documents."""


def open_systems(
    collection: Place,
    runs: Mapping[str, Place],
    split: str,
    click_labels: Place | None,
    max_weight: float,
) -> Systems:
    """What an evaluation measures.

    Args:
        collection: its folder.
        runs: the TREC runs that will be measured, by name.
        split: whose queries are measured.
        click_labels: folder of the propensities for held-out traffic; None where it does not
            count.
        max_weight: see `evaluation.traffic.count_traffic`.

    Raises:
        InputError: as far as it can be known without reading many rows, an input is missing or
            broken, or there are no candidates.
    """
    if fits_in_memory(collection, *runs.values()):
        tables = read_collection(collection)
        searched = tables.held_out_sessions.num_rows > 0
        truth = _truth([tables.judgments], split, click_labels, max_weight, searched)
        return _InMemory(tables, truth)
    judgments = _spans(collection, "judgments")
    found = table_files(dict.fromkeys(TABLES, collection))
    searched = found["held_out_sessions"].rows > 0
    return _InFiles(collection, _truth(judgments, split, click_labels, max_weight, searched))


def _truth(
    judgments: Iterator[pa.Table] | list[pa.Table],
    split: str,
    click_labels: Place | None,
    max_weight: float,
    searched: bool,
) -> Truth:
    """Says where held-out sessions lack propensities, or propensities sessions."""
    propensities = None
    if searched and click_labels is not None:
        propensities = read_propensities(click_labels)
    elif searched:
        print("held-out traffic measures nothing: give --click_labels, for their propensities")
    elif click_labels is not None:
        print("there is no held-out traffic to measure by; prepare holds it out")
    highest = max((pc.max(table["grade"]).as_py() or 0 for table in judgments), default=0)
    return Truth(split, highest, propensities, max_weight)


class _InMemory:
    def __init__(self, collection: Collection, truth: Truth) -> None:
        self.collection = collection
        self.truth = truth
        self.lists = candidate_ids(collection, truth.split)
        self.tables = {name: getattr(collection, name) for name in TABLES}

    def identity(self) -> dict[str, Any]:
        return {}

    def measure_first_stage(self, scratch: Place) -> Measured:
        return measure_tables(self.tables, self.truth, FIRST_STAGE)

    def measure_run(self, name: str, run: Place, scratch: Place) -> Measured:
        candidates, set_aside = read_trec_run(run, self.collection)
        measured = measure_tables({**self.tables, "runs": candidates}, self.truth, name, True)
        refuse_unmeasured(measured, run)
        say_set_aside(run, set_aside)
        return measured

    def measure_rankers(
        self, places: Mapping[str, str], scratch: Place, pool: Pool
    ) -> dict[str, Measured]:
        folders = {name: scratch / file_name(name) for name in places}
        score_lists(self.lists, self.collection.documents, places, folders, RUN_COLUMNS, pool)
        measured = {}
        for name, folder in folders.items():
            scored = pa.concat_tables(read_piece(folder / piece) for piece in pieces_of(folder))
            measured[name] = measure_tables({**self.tables, "runs": scored}, self.truth, name)
        return measured

    def judgments_of(self, query_ids: set[str]) -> Iterator[pa.Table]:
        yield _judged(self.collection.judgments, query_ids)

    def titles(self, doc_ids: "pd.Series[str]") -> pd.DataFrame:
        documents, wanted = self.collection.documents, pa.array(doc_ids.unique(), pa.string())
        of_wanted = documents.filter(pc.is_in(documents["doc_id"], value_set=wanted))
        return of_wanted.select(["doc_id", "title"]).to_pandas()


class _InFiles:
    def __init__(self, collection: Place, truth: Truth) -> None:
        self.collection = collection
        self.truth = truth
        self.sources = dict.fromkeys(TABLES, collection)
        propensities = truth.propensities
        context = [propensities.context] if propensities and propensities.context else []
        self.columns = {"held_out_sessions": ["query_id", "doc_ids", "clicks", *context]}

    def identity(self) -> dict[str, Any]:
        # Other rows would be cut into other pieces.
        return {"rows": {name: files.rows for name, files in table_files(self.sources).items()}}

    def measure_first_stage(self, scratch: Place) -> Measured:
        return self._measure(FIRST_STAGE, self.sources, scratch)

    def measure_run(self, name: str, run: Place, scratch: Place) -> Measured:
        folder = convert_run(run, self.collection, scratch / "given" / file_name(name))
        measured = self._measure(name, {**self.sources, "runs": folder}, scratch, run)
        refuse_unmeasured(measured, run)
        say_set_aside(run, Counter({REPEATED: int(measured.total(REPEATED))}))
        return measured

    def measure_rankers(
        self, places: Mapping[str, str], scratch: Place, pool: Pool
    ) -> dict[str, Measured]:
        lists = scratch / "lists"
        remove(lists)
        cut = CutPieces(self.collection, lists, self.truth.split, None)
        of_lists = dict.fromkeys(("queries", "splits", "candidates"), self.collection)
        for _ in by_query(of_lists, cut, connect):
            pass
        folders = {name: scratch / "scores" / file_name(name) for name in places}
        tables = {name: table_path(folder, "runs") for name, folder in folders.items()}
        score_files(self.collection, lists, places, tables, RUN_COLUMNS, pool)
        return {
            name: self._measure(name, {**self.sources, "runs": folder}, scratch)
            for name, folder in folders.items()
        }

    def judgments_of(self, query_ids: set[str]) -> Iterator[pa.Table]:
        for table in _spans(self.collection, "judgments"):
            yield _judged(table, query_ids)

    def titles(self, doc_ids: "pd.Series[str]") -> pd.DataFrame:
        documents, wanted = open_documents(self.collection), pa.array(doc_ids.unique(), pa.string())
        return documents.take(documents.rows(wanted)).select(["doc_id", "title"]).to_pandas()

    def _measure(
        self, name: str, sources: Mapping[str, Place], scratch: Place, run: Place | None = None
    ) -> Measured:
        folder = scratch / "measured" / file_name(name)
        remove(folder)
        measure = MeasurePart(self.collection, folder, self.truth, name, run)
        return measured_parts(by_query(sources, measure, connect, self.columns), folder)


def refuse_unmeasured(measured: Measured, run: Place) -> None:
    """Refuses a run that ranks nothing for the queries that are measured.

    Raises:
        InputError: naming the run.
    """
    if measured.total("ranked") == 0:
        raise InputError(
            f"{run}: ranks nothing for the {int(measured.total('asked')):,} queries to be "
            "measured on; give a run of them, or take another split"
        )


def _spans(collection: Place, name: str) -> Iterator[pa.Table]:
    if table_path(collection, name).exists():
        for span in read_footers(collection, name).spans:
            yield from read_span(span)


def _judged(judgments: pa.Table, query_ids: set[str]) -> pa.Table:
    wanted = pa.array(sorted(query_ids), pa.string())
    return judgments.filter(pc.is_in(judgments["query_id"], value_set=wanted))
