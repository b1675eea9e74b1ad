"""What tasks prepare of a part: lists of its queries, and token ids of queries and documents.

Each writes what it makes where workers read it, and gives back counts alone.
"""

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.documents import open_documents, refuse_pages, rows_of_part
from corpus.places import Place
from corpus.query_parts import QueryPart
from corpus.schemas import empty_table
from corpus.tables import Collection
from rankers.data.bucket_floors import frequency_ranges
from rankers.data.impressions import longest_page
from rankers.data.lists import in_lists
from rankers.data.part_tokens import PartTokens
from rankers.data.store import write_lists
from rankers.data.token_files import DOCUMENTS_OF_PART, QUERIES_OF_PART
from rankers.mixes import TrainingLog
from rankers.models.tokenizer import load_tokenizer
from rankers.part_counts import TRAINING, VALIDATION, Counted, list_file
from rankers.supervision import Signals, supervise
from rankers.training.validation import with_judgments

# Training queries whose traffic the driver is told of; where there are more it is a sample.
TRAFFIC = 1_000_000


@dataclass(frozen=True)
class PartTask:
    """What a task makes of a part of the tables.

    Attributes:
        collection: its folder, for the documents.
        signals: what training learns from.
        backbone: whose tokenizer makes ids.
        max_length: tokens of a pair.
        lists: folder for the lists.
        tokens: folder for token ids.
        whole_pairs: whether pairs are tokenized one by one, whatever the tokenizer.
    """

    collection: Place
    signals: Signals
    backbone: str
    max_length: int
    lists: Place
    tokens: Place
    whole_pairs: bool = False

    def __call__(self, part: QueryPart) -> pa.Table:
        """Writes the lists of a part and the ids of its queries; gives back what it counted.

        Raises:
            InputError: a document is unknown, or a pair has two labels of one kind.
        """
        documents, tables = open_documents(self.collection), part.tables
        for name in ("candidates", "judgments"):
            rows_of_part(part, name, documents)
        sessions = tables.get("sessions", empty_table("sessions"))
        if sessions.num_rows:
            refuse_pages(part, "sessions", documents)
        collection = Collection(
            tables["queries"],
            empty_table("documents"),
            tables["candidates"],
            sessions,
            tables["judgments"],
            tables["splits"],
        )
        labels = tables.get("click_labels"), tables.get("annotations")
        training, validation, told = supervise(collection, *labels, self.signals)
        both = [training, with_judgments(validation, tables["judgments"])]
        tokens = PartTokens(
            load_tokenizer(self.backbone, self.max_length),
            self.max_length,
            documents,
            self.tokens,
            part.number,
        )
        query_rows, document_rows, first = [], [], 0
        counts = {}
        for name, table in zip((TRAINING, VALIDATION), both, strict=True):
            doc_ids = table["doc_ids"].combine_chunks()
            query_row = np.arange(first, first + table.num_rows)
            document_row = documents.rows(doc_ids.flatten())
            query_rows.append(np.repeat(query_row, doc_ids.value_lengths().to_numpy()))
            document_rows.append(document_row)
            first += table.num_rows
            counts[name] = {part.number: table.num_rows}
            numbered = (
                table.drop_columns(["text"])
                .append_column("query_row", pa.array(query_row + part.number * QUERIES_OF_PART))
                .append_column("document_rows", in_lists(pa.array(document_row), doc_ids))
            )
            if table.num_rows:
                write_lists([numbered], self.lists / name / list_file(part.number))
        queries = pa.concat_tables([table.select(["text"]) for table in both])["text"]
        pairs = np.concatenate(query_rows), np.concatenate(document_rows)
        template = tokens.write(queries.combine_chunks(), *pairs, self.whole_pairs)
        # Of parts that a hash has cut, every so manieth query is a sample of all.
        every = max(-(-training.num_rows * part.count // TRAFFIC), 1)
        counted = Counted(
            lists=counts,
            told=told,
            templates=frozenset(template),
            longest_page=longest_page(training),
            used=np.unique(pairs[1]),
            log=TrainingLog(
                training["frequency"].to_numpy()[::every],
                training["impressions"].to_numpy()[::every],
            ),
            ranges=frequency_ranges(collection),
        )
        return pa.table({"counted": [pickle.dumps(counted)]})


def used_documents(used: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """A row for each part of the documents that holds one which is used, for `write_documents`."""
    starts = range(0, len(used), DOCUMENTS_OF_PART)
    parts = [used[start : start + DOCUMENTS_OF_PART] for start in starts]
    return [
        {"part": number, "used": np.packbits(part).tobytes()}
        for number, part in enumerate(parts)
        if part.any()
    ]


def write_documents(part: pa.Table, task: PartTask, documents: int) -> pa.Table:
    """Writes the token ids of a part of the documents.

    Args:
        part: a row of `used_documents`.
        task: that the lists were made by.
        documents: how many the collection has.
    """
    [row] = part.to_pylist()
    size = min(DOCUMENTS_OF_PART, documents - row["part"] * DOCUMENTS_OF_PART)
    used = np.unpackbits(np.frombuffer(row["used"], np.uint8), count=size).astype(np.bool_)
    tokens = PartTokens(
        load_tokenizer(task.backbone, task.max_length),
        task.max_length,
        open_documents(task.collection),
        task.tokens,
        row["part"],
    )
    tokens.write_documents(used)
    return part.select(["part"])
