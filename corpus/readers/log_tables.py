"""Reads a click log, whatever its format, into a collection's tables: shard by shard."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from corpus.errors import InputError
from corpus.free_memory import give_back_free_memory
from corpus.in_tasks import call_each
from corpus.pair_sums import shown_once
from corpus.places import Place, remove
from corpus.readers.kept_documents import KeptDocuments, settle_documents
from corpus.readers.log_format import SHARD_BYTES, Judgment, LogFormat, Shard, documents_table
from corpus.readers.query_texts import add_texts, collect_texts, first_texts, rename
from corpus.readers.settling import settle_sessions
from corpus.readers.shard_tables import ROWS_PER_PART, ShardSums, write_shard
from corpus.readers.shown_pairs import SUMS_FOLDER, PairFile, write_candidates, write_pairs
from corpus.schemas import SCHEMAS
from corpus.tables import table_path, write_parquet
from corpus.window import hold_out_parts

FEW_SHARDS = 16  # that tasks are not worth their beginning for, unless their files are large


def is_large(shards: Sequence[Shard]) -> bool:
    """Whether tasks of a Ray cluster read a log sooner: it has many shards, or large ones.

    A gzipped file and a row group are a shard each, whatever their size.
    """
    if len(shards) > FEW_SHARDS:
        return True
    size = sum(path.stat().st_size for path in {shard.path for shard in shards})
    return len(shards) > 1 and size > FEW_SHARDS * SHARD_BYTES


def write_log_tables(log: LogFormat, folder: Place, held_out: float) -> None:
    """Writes queries, documents, sessions, candidates and judgments into a collection's folder.

    Shards are read one after another or, where there are more than a few and this process has
    joined a Ray cluster, each by a task. Their searches are written in parts, and then parted by
    time. Queries are counted in the window; candidates are what the engine found in the whole log.
    In memory are the texts of queries and, of a search, its time and a hash of its id, but neither
    the log nor the pairs that it shows. The numbers of rows that were set aside are printed with
    the reasons.

    Args:
        log: the reader of the log.
        folder: the folder of the collection.
        held_out: share of the searches to hold out, the last ones, in [0, 1).

    Raises:
        InputError: a file is missing or broken, or holds no usable search.
    """
    aside: Counter[str] = Counter()
    pairs = _write_all_but_candidates(log, folder, held_out, aside)
    give_back_free_memory()
    write_candidates(pairs, folder)
    give_back_free_memory()
    remove(folder / SUMS_FOLDER)
    for reason, count in sorted(aside.items()):
        Console(highlight=False).print(f"set aside: {count:,} {reason}", soft_wrap=True)


def _write_all_but_candidates(
    log: LogFormat, folder: Place, held_out: float, aside: Counter[str]
) -> list[PairFile]:
    """Writes the other tables; returns what candidates are made of."""
    shards: list[ShardSums] = []
    other_ids: list[dict[str, str]] = []
    texts: list[pa.Table] = []
    pairs: list[PairFile] = []
    first: dict[str, str] = {}
    cut = log.shards(aside)
    given = [(shard, number, folder, ROWS_PER_PART) for number, shard in enumerate(cut)]
    few = 0 if is_large(cut) else len(given)
    with closing(call_each(write_shard, log, given, few)) as done:
        for sums in done:
            aside.update(sums.aside)
            # What comes from a task lies in Ray's object store as long as anything of it is held.
            sums.sessions = [part.in_own_memory() for part in sums.sessions]
            shards.append(sums)
            other_ids.append({} if sums.texts is None else log.other_ids(sums.texts, first))
            if sums.texts is None:
                continue
            ids = rename(sums.texts["query_id"], other_ids[-1])
            collect_texts(texts, sums.texts.set_column(0, "query_id", ids))
            sums.texts = None
            pairs += [replace(file, renamed=other_ids[-1]) for file in sums.pairs]
            give_back_free_memory()  # of the shard just read
    if not texts:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in aside.items())
        raise InputError(f"the log holds no usable search; set aside: {counts or 'nothing'}")
    settle_sessions(shards, other_ids)
    known, textless = settle_documents(shards, aside)
    searched = first_texts(add_texts(texts), aside)
    texts.clear()
    give_back_free_memory()
    judgments = list(log.judgments(aside))
    queries = pa.concat_tables([searched, _judged_queries(judgments, searched)])
    documents = _judged_documents(judgments, known)
    if documents.num_rows:
        path = table_path(folder, "documents") / f"part-{len(shards):05d}-00000.parquet"
        write_parquet(documents, path)
    if textless:
        aside["documents kept without any text"] = textless
    grades = _grades(judgments, queries["query_id"], known, documents["doc_id"], aside)
    moved = hold_out_parts(folder, held_out)
    write_parquet(_in_window(queries, moved), table_path(folder, "queries"))
    # A log of other queries than the judged ones publishes these with the list of its engine.
    others = pc.invert(pc.is_in(grades["query_id"], value_set=searched["query_id"]))
    if (more := grades.filter(others)).num_rows:
        pairs.append(write_pairs(shown_once(more), folder / SUMS_FOLDER / "judged.parquet"))
    write_parquet(grades, table_path(folder, "judgments"))
    return pairs


def _judged_queries(judgments: Sequence[Judgment], queries: pa.Table) -> pa.Table:
    """The queries whose text comes with a judgment and that the log does not have."""
    texts: dict[str, str] = {}
    for judgment in judgments:
        if judgment.text is not None:
            texts.setdefault(judgment.query_id, judgment.text)
    table = pa.table(
        {
            "query_id": pa.array(list(texts), pa.string()),
            "text": pa.array(list(texts.values()), pa.string()),
            "frequency": pa.repeat(pa.scalar(0, pa.int64()), len(texts)),
        }
    )
    return table.filter(pc.invert(pc.is_in(table["query_id"], value_set=queries["query_id"])))


def _judged_documents(judgments: Sequence[Judgment], known: KeptDocuments) -> pa.Table:
    """The documents whose texts come with a judgment and that the log does not have."""
    texts: dict[str, tuple[str, str]] = {}
    for judgment in judgments:
        if judgment.texts is not None:
            texts.setdefault(judgment.doc_id, judgment.texts)
    table = documents_table(texts)
    return table.filter(pa.array(~known.hold(table["doc_id"])))


def _grades(
    judgments: Sequence[Judgment],
    query_ids: pa.ChunkedArray,
    kept: KeptDocuments,
    more_documents: pa.ChunkedArray,
    aside: Counter[str],
) -> pa.Table:
    """The table judgments: the first grade of each pair of a known query and document."""
    queries = pa.array([judgment.query_id for judgment in judgments], pa.string())
    documents = pa.chunked_array([[judgment.doc_id for judgment in judgments]], pa.string())
    known = pc.is_in(queries, value_set=query_ids).to_numpy(zero_copy_only=False)
    known &= kept.hold(documents) | pc.is_in(documents, value_set=more_documents).to_numpy()
    grades: dict[tuple[str, str], int] = {}
    for judgment, is_known in zip(judgments, known.tolist(), strict=True):
        pair = (judgment.query_id, judgment.doc_id)
        if not is_known:
            aside["judgments of unknown queries or documents"] += 1
        elif pair not in grades:
            grades[pair] = judgment.grade
        elif grades[pair] == judgment.grade:
            aside["judgments that repeat an earlier one"] += 1
        else:
            aside["judgments that contradict an earlier one, which is kept"] += 1
    rows = [
        {"query_id": query_id, "doc_id": doc_id, "grade": grade}
        for (query_id, doc_id), grade in grades.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["judgments"])


def _in_window(queries: pa.Table, moved: pa.Table) -> pa.Table:
    """The table queries, without counting the searches that were moved out of the window."""
    at = pc.index_in(queries["query_id"], value_set=moved["query_id"])
    less = pc.fill_null(moved["searches"].take(at), 0)
    return queries.set_column(2, "frequency", pc.subtract(queries["frequency"], less))
