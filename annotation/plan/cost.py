"""Estimates of what annotation will take: pairs, tokens and time."""

from collections.abc import Iterable
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotation.asking.ask import ANSWER_FRAME, ANSWER_TOKENS
from annotation.judge import Judge
from annotation.plan.budget import TokenCounter
from annotation.plan.selection import starts_of_runs
from annotation.prompts.prompt import Document
from corpus.mapped_tables import MappedRows
from corpus.tables import Collection

SAMPLE = 200


def count_tokens(judge: Judge, tables: Collection) -> TokenCounter:
    """Makes a function that counts the tokens of pairs: prompt, thought and longest answer.

    For strategies that show lists it is an estimate: each pair is counted in a prompt of its own,
    less what prompts of a list share, and twice where windows overlap.

    Args:
        judge: who annotates, and how.
        tables: the collection that pairs are rows of.

    Returns:
        A function from pairs (query_row, doc_row) to their tokens, int64, shape (pairs,).
    """
    encoder = judge.encoder()
    longest = judge.max_model_len - judge.thinking - 1
    [frame] = encoder.encode([("query", [Document("", "")])], longest)
    all_queries, all_documents = MappedRows(tables.queries), MappedRows(tables.documents)

    def count(pairs: pa.Table) -> NDArray[np.int64]:
        queries = all_queries.take(pairs["query_row"].to_numpy())["text"].to_pylist()
        shown = all_documents.take(pairs["doc_row"].to_numpy())
        texts = zip(shown["title"].to_pylist(), shown["body"].to_pylist(), strict=True)
        documents = [[Document(title, body)] for title, body in texts]
        prompts = encoder.encode(list(zip(queries, documents, strict=True)), longest)
        tokens = np.array([len(prompt.token_ids) for prompt in prompts])
        if judge.shows_lists:
            _, query, listed = np.unique(
                pairs["query_row"].to_numpy(), return_inverse=True, return_counts=True
            )
            shown = np.minimum(listed[query], judge.documents_per_prompt)
            share = (len(frame.token_ids) + ANSWER_FRAME + judge.thinking) / shown
            tokens = np.maximum(tokens - len(frame.token_ids), 0) + np.ceil(share).astype(int)
            if judge.strategy == "ranking":  # windows overlap by half
                tokens *= np.where(listed[query] > judge.documents_per_prompt, 2, 1)
        else:
            tokens += judge.thinking
        return tokens + ANSWER_TOKENS[judge.strategy]

    return count


def probe_pairs(pairs: pa.Table, judge: Judge, engines: int) -> pa.Table:
    """About SAMPLE pairs of evenly spread queries, with a part for each of the engines."""
    starts = starts_of_runs(pairs["query_row"].to_numpy())
    queries = len(starts) - 1
    wanted = max(min(SAMPLE * queries // pairs.num_rows, queries), 1)
    chosen = np.linspace(0, queries - 1, wanted).astype(int)
    rows = [np.arange(starts[query], starts[query + 1]) for query in chosen]
    probe = pairs.take(np.concatenate(rows))
    if not judge.shows_lists:
        probe = probe.slice(0, SAMPLE)
    _, query = np.unique(probe["query_row"].to_numpy(), return_inverse=True)
    return probe.append_column("part", pa.array(query * engines // (query.max() + 1)))


def print_estimate(pairs: pa.Table, count: TokenCounter) -> None:
    """Prints the number of pairs, and their tokens by an estimate from a sample of them."""
    rows = np.linspace(0, pairs.num_rows - 1, min(SAMPLE, pairs.num_rows)).astype(int)
    mean = float(count(pairs.take(rows)).mean())
    print(
        f"{pairs.num_rows:,} pairs to annotate, about {mean * pairs.num_rows:,.0f} tokens "
        f"({mean:.0f} a pair)"
    )


def print_probe(answers: Iterable[pa.Table], pairs: int) -> None:
    """Prints the tokens and the time that all pairs will take, from the answers to some."""
    probed = pa.concat_tables(list(answers))
    tokens = pc.sum(probed["prompt_tokens"]).as_py() + pc.sum(probed["answer_tokens"]).as_py()
    seconds = pc.max(probed["ended"]).as_py() - pc.min(probed["started"]).as_py()
    each = pairs / probed.num_rows
    failed = probed.num_rows - probed["error"].null_count
    print(
        f"estimate: {pairs:,} pairs, {tokens * each:,.0f} tokens, "
        f"{timedelta(seconds=round(seconds * each))} after the engines have started "
        f"(from {probed.num_rows:,} pairs in {seconds:.1f} s, {failed:,} of them failed)"
    )
