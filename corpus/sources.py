"""The sources of collections: a simulated world, a BEIR folder, tables, and click logs."""

import sys
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from corpus.candidates import bm25_candidates, shown_candidates
from corpus.errors import InputError
from corpus.frequency import count_frequency
from corpus.places import Place, remove
from corpus.protocol import Parting, part_queries
from corpus.readers.baidu_ultr import BaiduUltrLog
from corpus.readers.beir import check_beir, read_beir, read_published_split
from corpus.readers.log_format import LogFormat
from corpus.readers.log_tables import is_large, write_log_tables
from corpus.readers.own_log import OwnLog
from corpus.readers.tiangong import TianGongLog
from corpus.schemas import SESSION_TABLES, SPLITS, empty_table
from corpus.simulation.user import CLICK_NOISE, POSITION_BIAS, simulate_sessions
from corpus.simulation.world import check_world, simulate_world
from corpus.splits import complete_split
from corpus.tables import (
    Collection,
    check_collection,
    check_folder,
    read_collection,
    read_table,
    read_without_repeated,
    table_path,
    write_collection,
    write_table,
)
from corpus.window import hold_out


class Source(ABC):
    """A source that a collection is prepared from."""

    def check(self) -> None:
        """Refuses a source whose faults can be seen before it is read.

        Raises:
            InputError: a file that the source names is missing, or is of another kind.
        """
        return

    @abstractmethod
    def write(self, folder: Place, parting: Parting, seed: int) -> None:
        """Writes the collection, its log and its queries parted.

        Args:
            folder: the folder of the collection.
            parting: how the log and the queries are parted.
            seed: seed of everything random in it.
        """


class TableSource(Source):
    """A source that is small enough to be a collection in memory."""

    @abstractmethod
    def read(self, seed: int) -> Collection:
        """Reads the tables that the source has; the others are empty.

        Args:
            seed: seed of everything random in them.
        """

    def write(self, folder: Place, parting: Parting, seed: int) -> None:
        source = getattr(self, "path", folder)
        collection = hold_out(self.read(seed), parting.held_out, source)
        write_collection(part_queries(collection, parting, seed, source), folder)


class LogSource(Source):
    """A click log, which is streamed into the collection's tables."""

    @abstractmethod
    def log(self) -> LogFormat:
        """The reader of the log."""

    def check(self) -> None:
        self.log().check()

    def is_large(self) -> bool:
        """Whether tasks of a Ray cluster read it sooner."""
        return is_large(self.log().shards(Counter()))

    def write(self, folder: Place, parting: Parting, seed: int) -> None:
        # Parts of a run that was cut short.
        for name in ("documents", "candidates", *SESSION_TABLES):
            remove(table_path(folder, name))
        write_log_tables(self.log(), folder, parting.held_out)
        names = ["queries", "judgments"]
        if parting.judged_candidates:  # else they are as the log tells them, and may be many
            names.append("candidates")
        tables = {name: read_table(folder, name) for name in names}
        nothing = {field.name: empty_table(field.name) for field in fields(Collection)}
        collection = part_queries(Collection(**nothing | tables), parting, seed, folder)
        write_table(collection.splits, folder, "splits")
        if parting.judged_candidates:
            remove(table_path(folder, "candidates"))
            write_table(collection.candidates, folder, "candidates")


@dataclass
class SimulatedWorld(TableSource):
    """A simulated world: documents, queries, users who click, and human grades.

    Its log has the shape of a web search engine's, see docs/simulated_world.md.

    Attributes:
        queries: number of distinct queries, at least 1.
        documents: number of documents, at least twice candidates_per_query.
        sessions: number of searches in the log, at least one for each query; null for 3.97 for
            each query.
        candidates_per_query: number of candidates that the first stage finds for each query.
        topics: number of topics of the world, 1 to 12.
        judged: share of the queries that have human judgments, 0 to 1: a sample of frequent,
            middling, rare and late ones.
        click_noise: probability of a click on an examined document of grade 0, 0 to 1.
        position_bias: position k is examined with probability k ** -position_bias; at least 0.
    """

    queries: int = 1300
    documents: int = 900
    sessions: int | None = None
    candidates_per_query: int = 10
    topics: int = 3
    judged: float = 0.33
    click_noise: float = CLICK_NOISE
    position_bias: float = POSITION_BIAS

    def check(self) -> None:
        check_world(**asdict(self))

    def read(self, seed: int) -> Collection:
        return simulate_world(seed, **asdict(self)).collection


@dataclass
class BeirFolder(TableSource):
    """A folder in the layout of BEIR, with clicks simulated from its human grades.

    Queries of `qrels/train.tsv`, `dev.tsv` and `test.tsv` keep their published split; other queries
    are for training. Without a `dev.tsv` a quarter of the training queries is for validation.
    Without any of these files, as with `all.tsv`, all queries are split at random.

    Attributes:
        path: the folder, with corpus.jsonl, queries.jsonl and qrels/*.tsv.
        sessions: number of searches to simulate; 0 for none, null for 3.97 for each query, as in
            a web search engine's log.
        candidates_per_query: largest number of BM25 candidates for each query, at least 1.
    """

    path: Place
    sessions: int | None = None
    candidates_per_query: int = 16

    def check(self) -> None:
        _check_numbers(self.candidates_per_query, self.sessions or 0)
        check_beir(self.path)

    def read(self, seed: int) -> Collection:
        collection, set_aside = read_beir(self.path)
        for reason, count in set_aside.items():
            if count:
                print(f"set aside: {count:,} {reason}")
        check_collection(collection, self.path)
        candidates = bm25_candidates(collection, self.candidates_per_query)
        collection = replace(collection, candidates=candidates)
        if self.sessions != 0:
            collection = simulate_sessions(collection, self.sessions, seed)
        if published := read_published_split(self.path):
            splits = complete_split(published, collection.queries, seed)
            _warn_of_empty_splits(self.path, splits)
            collection = replace(collection, splits=splits)
        return collection


@dataclass
class TablesFolder(TableSource):
    """A folder of one's own parquet tables, in the schema of a collection.

    Queries and documents are required. Frequencies that are all 0 are counted from the sessions. A
    column `time` of the sessions, of numbers, dates or texts of ISO 8601, is their order.
    Without a table of candidates, they are the documents shown in sessions or, without sessions,
    those that BM25 finds.

    Attributes:
        path: the folder.
        candidates_per_query: largest number of BM25 candidates for each query, at least 1.
    """

    path: Place
    candidates_per_query: int = 16

    def check(self) -> None:
        _check_numbers(self.candidates_per_query)
        check_folder(self.path)

    def read(self, seed: int) -> Collection:
        repeated: Counter[str] = Counter()
        collection = read_collection(self.path, partial(read_without_repeated, repeated=repeated))
        for name, count in repeated.items():
            print(f"set aside: {count:,} rows of {name} that repeat an earlier one")
        queries, sessions = collection.queries, collection.sessions
        if not pc.any(pc.greater(queries["frequency"], 0)).as_py():
            counted = count_frequency(queries["query_id"], sessions)
            position = queries.schema.get_field_index("frequency")
            queries = queries.set_column(position, "frequency", counted)
            collection = replace(collection, queries=queries)
        if collection.candidates.num_rows == 0:
            candidates = (
                shown_candidates(sessions)
                if sessions.num_rows
                else bm25_candidates(collection, self.candidates_per_query)
            )
            collection = replace(collection, candidates=candidates)
        return collection


@dataclass
class TianGong(LogSource):
    """TianGong-ST as published: sessions of Sogou, and human labels.

    Attributes:
        sessions: the file sogousessiontrack2020.xml.
        human_labels: the file sogou_st_human_labels.txt; without it there are no judgments.
        bodies: a file of document texts, a line each: id, tab, text; without it documents have
            titles only.
    """

    sessions: Place
    human_labels: Place | None = None
    bodies: Place | None = None

    def log(self) -> LogFormat:
        return TianGongLog(self.sessions, self.human_labels, self.bodies)


@dataclass
class BaiduUltr(LogSource):
    """Baidu-ULTR as published; texts are token ids joined by blanks.

    Attributes:
        parts: a gzip part of the log, or a folder of them.
        annotations: the file of human labels; its queries get the prefix "judged-".
    """

    parts: Place
    annotations: Place | None = None

    def log(self) -> LogFormat:
        return BaiduUltrLog(self.parts, self.annotations)


@dataclass
class OwnLogFiles(LogSource):
    """A log of one's own: JSON lines or parquet, a row a search and a row a document.

    Attributes:
        sessions: the searches: a .jsonl, .jsonl.gz or .parquet file, or a folder of them.
        documents: the documents: a .jsonl, .jsonl.gz or .parquet file, or a folder of them.
        columns: names of the files' columns for session_id, query_id, text, doc_ids, clicks, time,
            doc_id, title and body, where they differ from these (and from "query" for text).
    """

    sessions: Place
    documents: Place
    columns: dict[str, str] = field(default_factory=dict)

    def log(self) -> LogFormat:
        return OwnLog(self.sessions, self.documents, self.columns)


def _warn_of_empty_splits(path: Place, splits: pa.Table) -> None:
    for split in SPLITS:
        if split not in splits["split"].to_pylist():
            print(
                f"{path}: no query is left for {split}, as qrels/ is split already; to have all "
                "queries dealt out, put the judgments into one file, all.tsv",
                file=sys.stderr,
            )


def _check_numbers(candidates_per_query: int, sessions: int = 0) -> None:
    if candidates_per_query < 1 or sessions < 0:
        raise InputError(
            "candidates_per_query must be at least 1, and sessions at least 0; got "
            f"{candidates_per_query} and {sessions}"
        )
