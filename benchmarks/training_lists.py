"""The lists that `benchmarks/training.py` trains on."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from corpus.readers.beir import read_beir
from corpus.texts import document_text

DOCUMENTS = 8
# The log-normal law of lengths in tokens: four in a hundred are cut at either end.
SHORTEST, LONGEST = 16, 512
MEDIAN, SPREAD = (SHORTEST * LONGEST) ** 0.5, 1.0


def cranfield_lists(folder: Path, number: int) -> pa.Table:
    """Some queries of a BEIR folder with eight documents each, at most half of them relevant.

    Click labels are the softmax of the grades, which is what ListNet learns of these.
    """
    rng = np.random.default_rng(0)
    collection, _ = read_beir(folder)
    texts = np.array(document_text(collection.documents), dtype=object)
    row = {doc_id: row for row, doc_id in enumerate(collection.documents["doc_id"].to_pylist())}
    relevant = collection.judgments.to_pandas().query("grade > 0").groupby("query_id")
    lists: list[dict[str, Any]] = []
    for query in rng.permutation(collection.queries.to_pylist())[:number]:
        judged = relevant.get_group(query["query_id"]).head(DOCUMENTS // 2)
        listed = [row[doc_id] for doc_id in judged["doc_id"]]
        others = rng.permutation(np.setdiff1d(np.arange(len(texts)), listed))
        listed += others[: DOCUMENTS - len(listed)].tolist()
        grades = np.zeros(DOCUMENTS)
        grades[: len(judged)] = judged["grade"]
        labels = {
            "click_label": np.exp(grades) / np.exp(grades).sum(),
            "annotation_label": grades,
            "annotation_weight": np.ones(DOCUMENTS),
        }
        own_ids = [f"{len(lists)}-{n}" for n in listed]  # the texts can become others in each list
        documents = {"doc_ids": own_ids, "documents": texts[listed].tolist()}
        lists.append(query | {"bucket": 0} | documents | labels)
    return pa.Table.from_pylist(lists)


def spread_texts(lists: pa.Table, tokenizer: PreTrainedTokenizerBase) -> pa.Table:
    """The same lists with texts of their words: three a query, documents as long as web pages."""
    rng = np.random.default_rng(0)
    words = np.array(" ".join(lists["documents"].combine_chunks().flatten().to_pylist()).split())
    encoded = tokenizer(words.tolist(), add_special_tokens=False)
    tokens = np.array([len(ids) for ids in encoded["input_ids"]])

    def text(length: float) -> str:
        """The fewest words that are so many tokens."""
        drawn = rng.integers(len(words), size=LONGEST)
        enough = 1 + np.searchsorted(np.cumsum(tokens[drawn]), length)
        return " ".join(words[drawn[:enough]])

    drawn = rng.lognormal(np.log(MEDIAN), SPREAD, (lists.num_rows, DOCUMENTS))
    # The query has at least three tokens, and three part the texts of a pair.
    lengths = drawn.clip(SHORTEST, LONGEST) - 6
    texts = {
        "text": pa.array([" ".join(rng.choice(words, 3)) for _ in range(lists.num_rows)]),
        "documents": pa.array([[text(length) for length in listed] for listed in lengths]),
    }
    for name, column in texts.items():
        lists = lists.set_column(lists.column_names.index(name), name, column)
    return lists


def documents_of(lists: pa.Table) -> pa.Table:
    """The documents of lists, as a collection has them."""
    doc_ids, texts = (lists[name].combine_chunks().flatten() for name in ("doc_ids", "documents"))
    titles = pa.array([""] * len(doc_ids))
    return pa.table({"doc_id": doc_ids, "title": titles, "body": texts})
