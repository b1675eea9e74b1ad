"""The job `prepare`: from raw data, or from nothing, to a checked collection."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow.compute as pc

from corpus.beir import read_beir
from corpus.candidates import bm25_candidates, shown_candidates
from corpus.frequency import count_frequency
from corpus.output_folder import begin_output, finish_output
from corpus.simulator import simulate_sessions
from corpus.splits import split_queries
from corpus.tables import Collection, check_collection, read_collection, write_collection
from corpus.world import simulate_world


class Source(ABC):
    """Where a collection comes from."""

    @abstractmethod
    def read(self, seed: int) -> Collection:
        """Returns the tables that the source has; the others are empty."""


@dataclass
class SimulatedWorld(Source):
    """A world made for the occasion: documents, queries, users and human grades.

    Attributes:
        queries: number of distinct queries.
        documents: number of documents.
        sessions: number of searches in the log window.
        candidates_per_query: length of the list that the first stage finds for a query.
        topics: how many topics, of twelve, the world is about.
    """

    queries: int = 600
    documents: int = 900
    sessions: int = 30_000
    candidates_per_query: int = 12
    topics: int = 3

    def read(self, seed: int) -> Collection:
        return simulate_world(seed, **asdict(self)).collection


@dataclass
class BeirFolder(Source):
    """A folder in the layout of BEIR, with clicks simulated from its human grades.

    Attributes:
        path: the folder, with corpus.jsonl, queries.jsonl and qrels/*.tsv.
        sessions: number of searches to simulate; 0 for none.
        candidates_per_query: length of the BM25 candidate lists, judged documents included.
    """

    path: Path
    sessions: int = 15_000
    candidates_per_query: int = 16

    def read(self, seed: int) -> Collection:
        collection, set_aside = read_beir(self.path)
        for reason, count in set_aside.items():
            if count:
                print(f"set aside: {count:,} {reason}")
        check_collection(collection, self.path)
        candidates = bm25_candidates(collection, self.candidates_per_query)
        collection = replace(collection, candidates=candidates)
        return simulate_sessions(collection, self.sessions, seed) if self.sessions else collection


@dataclass
class TablesFolder(Source):
    """A folder of one's own parquet tables, in the schema of a collection.

    Queries and documents must be there. Frequencies that are all 0 are counted from the sessions.
    Candidates that are not there are the documents shown in sessions or, without sessions, found
    by BM25.

    Attributes:
        path: the folder.
        candidates_per_query: length of the BM25 candidate lists, where they are needed.
    """

    path: Path
    candidates_per_query: int = 16

    def read(self, seed: int) -> Collection:
        collection = read_collection(self.path)
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


def prepare(
    output: Path,
    source: Source = SimulatedWorld(),  # noqa: B008 - read only; the command line shows it
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Makes a collection: checked parquet tables, with candidates and a split of the queries.

    Args:
        output: folder for the collection.
        source: where the data comes from: SimulatedWorld, BeirFolder or TablesFolder.
        seed: of everything random: the simulated world or clicks, and the split of the queries.
        resume: do nothing if the collection is already there; make it again if it was cut short.

    Raises:
        InputError: the source is missing, empty or broken, or `output` is in use.
    """
    settings = {"source": type(source).__name__, **vars(source), "seed": seed}
    if not begin_output(output, "prepare", settings, resume):
        print(f"{output}: already prepared")
        return
    collection = source.read(seed)
    if collection.splits.num_rows == 0:
        collection = replace(collection, splits=split_queries(collection.queries, seed))
    write_collection(collection, output)
    finish_output(output)
    without = collection.queries.num_rows - len(pc.unique(collection.candidates["query_id"]))
    print(
        f"{output}: {collection.queries.num_rows:,} queries, "
        f"{collection.documents.num_rows:,} documents, "
        f"{collection.candidates.num_rows:,} candidate pairs, "
        f"{collection.sessions.num_rows:,} sessions, "
        f"{collection.judgments.num_rows:,} judgments"
        + (f"; {without:,} queries have no candidate and are set aside" if without else "")
    )
