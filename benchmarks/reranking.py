"""How fast lists are scored, against CrossEncoder.predict of sentence-transformers.

    python -m benchmarks.reranking --model sentence-transformers/all-MiniLM-L6-v2
    python -m benchmarks.reranking --lists 400 --depth 100 --gpu true

Both score the same pairs with the same weights on the same cores, in turn, in float32 and in
bfloat16: `predict` as it comes, with a thread a core, and an actor a core with a thread each, which
is what the job `rerank` runs, from cutting the pairs into blocks to the scores. The lengths of
pairs spread as web pages' do: log-normal, from 16 to 512 tokens. Prints pairs a second by the clock
and by processor time (which says more where others use the machine), the best round of each, its
ratio to `predict` in the same precision and in float32, and the largest difference from the scores
of `predict` in float32. The start of processes is not counted. On a GPU each has all of it, in
turn; the share of its peak counts the operations that the pairs need without padding.
"""

import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from jsonargparse import auto_cli
from numpy.typing import NDArray
from ray.util import ActorPool
from rich.console import Console
from rich.table import Table
from sentence_transformers import CrossEncoder
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from benchmarks.gpu_peak import count_operations, missing_gpu, peak_tflops
from cluster.connection import connect
from corpus.schemas import SCHEMAS, empty_table
from corpus.tables import Collection
from corpus.texts import document_column
from rankers.data.lists import candidate_lists, document_rows
from rankers.models.cross_encoder import load_cross_encoder
from rankers.models.list_ranker import Precision
from rankers.models.small_bert import build_small_bert
from rankers.scoring.blocks import scoring_blocks
from rankers.scoring.pair_scorer import PairScorer

MEDIAN_TOKENS, SPREAD, FEWEST_TOKENS, MOST_TOKENS = 128, 0.8, 16, 512
QUERY_WORDS, SPECIAL_TOKENS = 4, 3
PEER, OURS = "CrossEncoder.predict", "rerank's actors"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
# Scores, and the seconds of processors that they took.
Scoring = Callable[[], tuple[NDArray[np.float32], float]]


def main(
    model: str | None = None,
    lists: int = 40,
    depth: int = 25,
    rounds: int = 3,
    cores: int = 2,
    gpu: bool = False,
) -> None:
    """Times both, in turn.

    Args:
        model: a Hugging Face id or a folder, which gets a fresh head if it has none; left out,
            random weights in the shape of MiniLM-L6.
        lists: queries.
        depth: documents of each.
        rounds: how often each scores all pairs.
        cores: that each may use.
        gpu: only where there is a GPU, on which both compute, one actor for all cores.
    """
    if gpu and (reason := missing_gpu()):
        print(reason)
        return
    actors_of_each = 1 if gpu else cores
    torch.set_num_threads(cores)
    connect()
    with tempfile.TemporaryDirectory() as folder:
        ranker = Path(folder)
        save_cross_encoder(model, ranker)
        collection = make_collection(whole_words(ranker), lists, depth)
        listed = candidate_lists(collection, None)
        texts = document_column(collection.documents)
        rows = document_rows(listed, collection.documents)
        cut_blocks = partial(scoring_blocks, rows, texts, ["r"], actors_of_each)
        [one] = (block.slice(0, 1) for block in islice(cut_blocks(), 1))
        pairs = [
            (row["text"], document) for row in listed.to_pylist() for document in row["documents"]
        ]
        shared = [ray.put(listed.select(["text", "frequency", "bucket"])), ray.put(texts)]
        scorers: dict[str, Scoring] = {}
        for precision in PRECISIONS:
            kind = torch.float32 if precision == "fp32" else torch.bfloat16
            peer = CrossEncoder(
                str(ranker), model_kwargs={"dtype": kind}, device="cuda" if gpu else "cpu"
            )
            # They reserve no CPU, and parts of a GPU, since those of both precisions are there.
            actor = ray.remote(num_cpus=0, num_gpus=gpu / len(PRECISIONS))(TimedScorer)
            actors = [
                actor.remote({"r": str(ranker)}, *shared, precision, gpu)
                for _ in range(actors_of_each)
            ]
            # Both have read their weights before the clock runs.
            peer.predict(pairs[:1])
            ray.get([actor.score.remote(one) for actor in actors])
            scorers[f"{PEER}, {precision}"] = partial(predict, peer, pairs)
            scorers[f"{OURS}, {precision}"] = partial(score_blocks, actors, cut_blocks)
        compare(scorers, rounds, operations_of(ranker, pairs) if gpu else None)


class TimedScorer(PairScorer):
    """What is in the job's actors, which tells how long it computed."""

    def score(self, block: pa.Table) -> tuple[pa.Table, float]:
        """Scores a block; also gives the seconds of processors that it took."""
        before = time.process_time()
        scored = self(block)
        return scored, time.process_time() - before


def predict(peer: CrossEncoder, pairs: list[tuple[str, str]]) -> tuple[NDArray[np.float32], float]:
    """What the peer does for its users: scores, and the seconds of processors that they took."""
    before = time.process_time()
    scores = np.asarray(peer.predict(pairs), np.float32)
    return scores, time.process_time() - before


def score_blocks(
    actors: list[Any], cut_blocks: Callable[[], Iterable[pa.Table]]
) -> tuple[NDArray[np.float32], float]:
    """What the job and its pool do; with the sigmoid that the peer puts on scores."""
    before = time.process_time()
    pool = ActorPool(actors)
    scored, seconds = zip(
        *pool.map_unordered(lambda actor, block: actor.score.remote(block), cut_blocks()),
        strict=True,
    )
    logits = pa.concat_tables(scored).sort_by("pair")["score"].to_numpy()
    scores = np.asarray(1 / (1 + np.exp(-logits)), np.float32)
    return scores, time.process_time() - before + sum(seconds)


def operations_of(ranker: Path, pairs: list[tuple[str, str]]) -> int:
    """The operations by which the ranker scores pairs that are not padded."""
    tokenizer = AutoTokenizer.from_pretrained(ranker)
    ids = tokenizer(pairs, truncation=True, max_length=MOST_TOKENS)["input_ids"]
    with torch.device("meta"):
        network = BertForSequenceClassification(BertConfig.from_pretrained(ranker))
        lengths = [FEWEST_TOKENS, MOST_TOKENS // 2, MOST_TOKENS]
        needed = [
            count_operations(partial(network, torch.ones(1, length, dtype=torch.int64)))
            for length in lengths
        ]
    # Products with weights grow with the tokens, attention with their square.
    polynomial = np.polyfit(lengths, needed, deg=2)
    return int(sum(np.polyval(polynomial, [len(pair) for pair in ids])))


def compare(scorers: dict[str, Scoring], rounds: int, operations: int | None) -> None:
    """Prints the speed of each, and how far its scores are from the peer's in float32.

    Args:
        scorers: by name, which ends with the precision.
        rounds: how often each scores all pairs.
        operations: that scoring them takes, for the share of a GPU's peak; None on processors.
    """
    clock, processor = (dict.fromkeys(scorers, np.inf) for _ in range(2))
    scores = {}
    for number in range(rounds):
        for name, score in scorers.items():
            start = time.perf_counter()
            scores[name], used = score()
            seconds = time.perf_counter() - start
            took = f"{seconds:.1f} s, {used:.1f} s of processors"
            print(f"round {number + 1}: {name} {took}", flush=True)
            clock[name] = min(clock[name], seconds)
            processor[name] = min(processor[name], used)
    headings = ("", "pairs/s", "of a processor", "times", "of processors", "times predict, fp32")
    table = Table(*headings, "difference", *(["of the peak"] if operations else []))
    plain = f"{PEER}, {PRECISIONS[0]}"
    for name in scorers:
        pairs, precision = len(scores[name]), name.split(", ")[1]
        same = f"{PEER}, {precision}"
        cells = [f"{pairs / clock[name]:.1f}", f"{pairs / processor[name]:.1f}"]
        cells += [f"{took[same] / took[name]:.2f}" for took in (clock, processor)]
        cells += [f"{clock[plain] / clock[name]:.2f}"]
        cells += [f"{np.abs(scores[name] - scores[plain]).max():.1e}"]
        if operations and (peak := peak_tflops(precision)):
            cells += [f"{operations / clock[name] / peak / 1e12:.1%}"]
        table.add_row(name, *cells)
    Console(width=130).print(table)


def save_cross_encoder(model: str | None, folder: Path) -> None:
    """Saves a model with one head, so that both sides read the same weights."""
    torch.manual_seed(0)
    if model is not None:
        network, tokenizer = load_cross_encoder(model, MOST_TOKENS, new_head=True)
    else:
        words = ["".join(letters) for letters in product("abcdefghijkl", repeat=3)]
        build_small_bert(make_collection(words, 100, 10), folder, seed=0)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        config = BertConfig(hidden_size=384, intermediate_size=1536, num_hidden_layers=6)
        config.num_labels = 1
        network = BertForSequenceClassification(config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def whole_words(ranker: Path) -> list[str]:
    """Words that are one token each."""
    vocabulary = AutoTokenizer.from_pretrained(ranker).get_vocab()
    return sorted(
        word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2
    )


def make_collection(words: list[str], lists: int, depth: int) -> Collection:
    """Queries, each with documents of its own."""
    rng = np.random.default_rng(0)
    tokens = np.exp(rng.normal(np.log(MEDIAN_TOKENS), SPREAD, lists * depth))
    tokens = tokens.clip(FEWEST_TOKENS, MOST_TOKENS).astype(int) - QUERY_WORDS - SPECIAL_TOKENS
    doc_ids = [f"d{number}" for number in range(lists * depth)]
    query_ids = [f"q{number}" for number in range(lists)]
    queries = [" ".join(rng.choice(words, QUERY_WORDS)) for _ in query_ids]
    bodies = [" ".join(rng.choice(words, count)) for count in tokens]
    rank = np.tile(np.arange(1, depth + 1), lists)
    tables = {
        "queries": [query_ids, queries, [1] * lists],
        "documents": [doc_ids, [""] * len(doc_ids), bodies],
        "candidates": [np.repeat(query_ids, depth), doc_ids, rank, 1.0 / rank],
    }
    filled = {name: pa.table(columns, schema=SCHEMAS[name]) for name, columns in tables.items()}
    return Collection(
        **filled, **{name: empty_table(name) for name in ("sessions", "judgments", "splits")}
    )


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
