"""An epoch on raw sessions against one on compacted sessions: same steps, same final loss.

    python -m benchmarks.compaction

A simulated log, in which a few queries have most of the sessions. Both contestants train the same
small cross-encoder with the same objective, a step being all sessions of a few queries. One scores
the page of every session; the other scores the candidates of every query once and takes the loss of
its compacted sessions from these scores. Texts are tokenized before the clock starts.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from jsonargparse import auto_cli
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerBase

from corpus.simulation.user import examination_probability
from corpus.simulation.world import simulate_world
from rankers.data.impressions import PAGES, add_pages, longest_page
from rankers.data.lists import candidate_ids
from rankers.data.padding import BatchReader
from rankers.data.pair_texts import number_texts
from rankers.data.store import ListFile, write_lists
from rankers.data.token_files import open_tokens
from rankers.data.tokenization import tokenize_once
from rankers.losses.click_objectives import CLICK_OBJECTIVES
from rankers.losses.sessions import SessionLoss
from rankers.models.cross_encoder import load_cross_encoder
from rankers.models.list_ranker import ListRanker
from rankers.models.small_bert import build_small_bert
from rankers.settings import ClickObjectiveName

MAX_LENGTH = 32
LISTS_AT_ONCE = 64
TOKENS_AT_ONCE = 1 << 20  # all at once, as these lists are short
LEARNING_RATE = 1e-3


def main(
    sessions: int = 100_000,
    queries: int = 1_000,
    queries_per_step: int = 8,
    objective: ClickObjectiveName = "ipw",
    seed: int = 0,
) -> None:
    """Prints the seconds of an epoch of each, their ratio, and the loss of all after it.

    Args:
        sessions: of the log.
        queries: that they are spread over, by Zipf's law.
        queries_per_step: whose sessions one step of the optimizer sees.
        objective: what is learned from the clicks.
        seed: of the log and the model.
    """
    torch.set_num_threads(1)  # these models are too small for more
    collection = simulate_world(seed, queries, 2 * queries, sessions).collection
    with tempfile.TemporaryDirectory() as folder:
        build_small_bert(collection, Path(folder), seed)
        _, tokenizer = load_cross_encoder(folder, MAX_LENGTH, new_head=True)
    by_query = candidate_ids(collection, None)
    compacted = add_pages(by_query, collection.sessions, CLICK_OBJECTIVES[objective].linear)
    raw = raw_lists(by_query, collection.sessions)
    order = np.random.default_rng(seed).permutation(by_query.num_rows)
    steps = [order[at : at + queries_per_step] for at in range(0, len(order), queries_per_step)]
    table = Table("epoch on", "pairs scored", "seconds", "loss after it")
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        readers = read_from(Path(folder), tokenizer, [raw, compacted], collection.documents)
        contestants = zip(("raw sessions", "compacted sessions"), readers, strict=True)
        for name, lists in contestants:
            torch.manual_seed(seed)
            model = tiny_model(len(tokenizer))
            loss = session_loss(objective, compacted)
            known = lists.lists.columns(["query_id", "doc_ids"], np.arange(len(lists.lists)))
            query = pd.Index(by_query["query_id"]).get_indexer(known["query_id"].to_pandas())
            start = time.perf_counter()
            train_epoch(model, loss, lists, query, steps, name)
            seconds[name] = time.perf_counter() - start
            after = mean_loss(model, loss, readers[1])
            pairs = len(known["doc_ids"].combine_chunks().flatten())
            table.add_row(name, f"{pairs:,}", f"{seconds[name]:.1f}", f"{after:.6f}")
    Console().print(table)
    first, second = seconds.values()
    print(f"{objective}: an epoch takes {first / second:.1f} times as long on raw sessions")


def raw_lists(by_query: pa.Table, sessions: pa.Table) -> pa.Table:
    """A list for each session, of the documents that it showed, with that session alone."""
    row = pd.Index(by_query["query_id"]).get_indexer(sessions["query_id"].to_pandas())
    pages = [
        [{"document": list(range(len(clicks))), "clicks": list(map(int, clicks)), "sessions": 1}]
        for clicks in sessions["clicks"].to_pylist()
    ]
    lists = by_query.select(["query_id", "text", "frequency", "bucket"]).take(row)
    return lists.append_column("doc_ids", sessions["doc_ids"]).append_column(PAGES, [pages])


def read_from(
    folder: Path, tokenizer: PreTrainedTokenizerBase, tables: list[pa.Table], documents: pa.Table
) -> list[BatchReader]:
    """The lists of tables, from files as training reads them."""
    numbered, texts = number_texts(tables, documents)
    tokens = open_tokens(tokenize_once(texts, tokenizer, MAX_LENGTH, folder, "benchmark"))
    readers = []
    for number, table in enumerate(numbered):
        write_lists([table], folder / f"{number}.arrow")
        file = ListFile(folder / f"{number}.arrow")
        readers.append(BatchReader(file, tokens, tokenizer.pad_token_id, TOKENS_AT_ONCE))
    return readers


def tiny_model(vocabulary: int) -> nn.Module:
    """A BERT so small that a hundred thousand pages are scored in minutes."""
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=MAX_LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=1,  # type: ignore[call-arg]
    )
    return ListRanker(BertForSequenceClassification(config))


def session_loss(objective: ClickObjectiveName, compacted: pa.Table) -> SessionLoss:
    """The objective, where it needs propensities with those that made the clicks."""
    examination = examination_probability(longest_page(compacted))
    return SessionLoss(
        objective, len(examination), torch.tensor(examination / examination[0]).float()
    )


def train_epoch(
    model: nn.Module,
    loss: SessionLoss,
    lists: BatchReader,
    query: NDArray[np.int64],
    steps: list[NDArray[np.int64]],
    name: str,
) -> None:
    """One step for each group of queries, on the mean loss of each query's sessions.

    Args:
        model: the ranker.
        loss: of the lists' pages.
        lists: one or several for each query.
        query: the number of each list's query.
        steps: the numbers of the queries of each step.
        name: for the progress bar.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    by_query = pd.Series(np.arange(len(query))).groupby(query).indices
    for step in track(steps, description=name):
        optimizer.zero_grad()
        evidence = torch.zeros_like(loss.sums)
        rows = np.concatenate([by_query[number] for number in step])
        share = np.concatenate([np.full(len(by_query[n]), 1 / len(by_query[n])) for n in step])
        for at in range(0, len(rows), LISTS_AT_ONCE):
            batch = lists.read(rows[at : at + LISTS_AT_ONCE])
            scores, pages = model(batch)[..., 0], batch.pages
            weight = torch.tensor(share[at : at + LISTS_AT_ONCE] / len(step)).float()
            (weight @ loss(scores, pages)).backward()
            if (said := loss.evidence(scores, pages)) is not None:
                evidence += said
        optimizer.step()
        if loss.objective.evidence is not None:
            loss.learn(evidence)


def mean_loss(model: nn.Module, loss: SessionLoss, lists: BatchReader) -> float:
    """Of all queries, with the model as it is."""
    total = 0.0
    with torch.no_grad():
        for at in range(0, len(lists.lists), LISTS_AT_ONCE):
            batch = lists.read(np.arange(at, min(at + LISTS_AT_ONCE, len(lists.lists))))
            total += float(loss(model(batch)[..., 0], batch.pages).sum())
    return total / len(lists.lists)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
