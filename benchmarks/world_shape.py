"""The shape of the simulated world's log beside real ones; draws docs/simulated_world.svg.

    python -m benchmarks.world_shape

Prints, for the default world and one ten times as large, the shares of queries by their searches,
the exponent of Zipf's law, the lengths of queries, and how long it took to make.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
from jsonargparse import auto_cli
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from corpus.simulation.judged import LOG_WINDOW
from corpus.simulation.world import World, simulate_world

PICTURE = Path(__file__).parents[1] / "docs" / "simulated_world.svg"
# Silverstein et al. 1999; Baeza-Yates et al. 2007 and 1 / (2.1 - 1); Beitzel et al. 2004; Gomes
# 2017.
COUNTED = {
    "searched once": "63.7 %",
    "searched twice": "16.2 %",
    "searched three times": "6.5 %",
    "searched more often": "13.6 %",
    "searches a query": "3.97",
    "Zipf's exponent": "0.83, 0.91",
    "words, the popular twentieth": "1.7",
    "words, of all searches": "2.2",
    "words, searched once": "",
    "documents with a word, popular": "",
    "documents with a word, searched once": "",
    "new among searches after the window": "15 %",
    "seconds to make": "",
}


def main(seed: int = 0, draw: bool = True) -> None:
    """Prints the shape of two worlds, and draws that of the default one.

    Args:
        seed: of the worlds.
        draw: write the picture.
    """
    simulate_world(seed, queries=50)  # loads what is loaded once
    columns = []
    for factor in (1, 10):
        started = time.perf_counter()
        # Ten times the queries need more words to be short.
        world = simulate_world(
            seed, queries=1300 * factor, documents=900 * factor, topics=3 if factor == 1 else 12
        )
        seconds = time.perf_counter() - started
        columns.append([*shape(world), f"{seconds:.1f}"])
        if draw and factor == 1:
            draw_shape(world).savefig(PICTURE)
    table = Table("", "real logs", "default world", "ten times as large")
    for (name, counted), *cells in zip(COUNTED.items(), *columns, strict=True):
        table.add_row(name, counted, *cells)
    Console(width=120).print(table)


def shape(world: World) -> list[str]:
    """What `COUNTED` lists, but for the time."""
    queries = describe(world)
    frequency, words = queries["frequency"], queries["words"]
    shares = frequency.clip(upper=4).value_counts(normalize=True)
    ranked = frequency[frequency > 1].sort_values(ascending=False).to_numpy()
    slope = np.polyfit(np.log(np.arange(1, len(ranked) + 1)), np.log(ranked), deg=1)[0]
    popular = frequency.rank(ascending=False, method="first") <= len(queries) / 20
    sessions = world.collection.sessions["query_id"].to_pandas()
    window = round(LOG_WINDOW * len(sessions))
    new = ~sessions[window:].isin(sessions[:window])
    return [
        *(f"{shares[count]:.1%}".replace("%", " %") for count in (1, 2, 3, 4)),
        f"{frequency.mean():.2f}",
        f"{-slope:.2f}",
        f"{words[popular].mean():.2f}",
        f"{np.average(words, weights=frequency):.2f}",
        f"{words[frequency == 1].mean():.2f}",
        f"{queries['held'][popular].mean():.2%}".replace("%", " %"),
        f"{queries['held'][frequency == 1].mean():.2%}".replace("%", " %"),
        f"{new.mean():.1%}".replace("%", " %"),
    ]


def describe(world: World) -> pd.DataFrame:
    """frequency, words (number of words) and held (mean share of documents with one) by query."""
    documents = world.collection.documents["body"].to_pandas().str.split().map(set)
    share = documents.explode().value_counts() / len(documents)
    queries = world.collection.queries.to_pandas()
    words = queries["text"].str.split()
    return pd.DataFrame(
        {
            "frequency": queries["frequency"],
            "words": words.str.len(),
            "held": words.map(lambda held: share.reindex(held).fillna(0).mean()),
        }
    )


def draw_shape(world: World) -> Figure:
    """Rank against frequency, and length and specificity of queries against frequency."""
    queries = describe(world)
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    by_rank, by_length, by_share = figure.subplots(1, 3)
    ranked = queries["frequency"].sort_values(ascending=False).to_numpy()
    rank = np.arange(1, len(ranked) + 1)
    by_rank.loglog(rank, ranked, lw=3, label="simulated")
    middle = len(ranked) // 10
    line = ranked[middle] * (rank / middle) ** (-1 / 1.1)
    by_rank.loglog(rank, line.clip(0.5), "--", color="black", label="Zipf, exponent 0.91")
    by_rank.set(
        xlabel="rank of the query", ylabel="searches", title="how often queries are searched"
    )
    by_rank.legend()
    edges = np.array([1, 2, 4, 8, 16, 64, np.inf])
    group = np.digitize(queries["frequency"], edges)
    ticks = ["1", "2–3", "4–7", "8–15", "16–63", "64–"]
    for axis, column, title in (
        (by_length, "words", "words of a query"),
        (by_share, "held", "share of documents with a word of it"),
    ):
        grouped = queries.groupby(group)[column]
        axis.errorbar(ticks, grouped.mean(), yerr=1.96 * grouped.sem(), fmt="o-", capsize=3)
        axis.set(xlabel="searches of the query", title=title, ylim=(0, None))
    return figure


if __name__ == "__main__":
    auto_cli(main)
