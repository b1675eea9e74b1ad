"""How fast click models are fitted, and how well they foretell clicks, beside CLAX and PyClick.

    python -m benchmarks.click_models --clax_python ENVIRONMENT/bin/python

Makes a log by a user who is none of the models, fits each model to it, and measures sessions a
second of the whole fit and the perplexity on held-out sessions. Tandem is measured twice: from ids
that are strings, as logs have them, and from ids that are encoded in memory, which is what CLAX
(pip install clax-models jax==0.7.2, in an environment of its own) is given. CLAX stops by its own
rule; compilation is not counted on either side. PyClick runs where it can be imported, on as many
sessions as it does in a minute or so; it is given its own session objects, ids being strings.
Speeds are medians, of as many fits as a second has room for in each round, or of the peer's fits.
"""

import importlib.util
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from clicks.fit_clicks import CLICK_MODELS
from clicks.log.click_log import encode_sessions, read_click_log
from clicks.models.base import ClickModel

# The names that the models have in PyClick, where they are there.
PYCLICK = {
    "PositionBasedModel": "PBM",
    "CascadeModel": "CM",
    "DependentClickModel": "DCM",
    "SimplifiedDynamicBayesianNetwork": "SDBN",
    "DynamicBayesianNetwork": "DBN",
    "UserBrowsingModel": "UBM",
    "ClickChainModel": "CCM",
}
POSITIONS = 10


def main(
    sessions: int = 200_000,
    queries: int = 20_000,
    held_out: int = 20_000,
    clax_python: Path | None = None,
    pyclick_sessions: int = 2_000,
    models: list[str] = list(PYCLICK),  # noqa: B006 - read only
    rounds: int = 3,
    seed: int = 0,
) -> None:
    """Fits each model on one log after the other and prints a table.

    Args:
        sessions: to fit on.
        queries: how many the searches are spread over, by Zipf's law.
        held_out: sessions for perplexity, and as many for CLAX to stop by.
        clax_python: the interpreter of an environment with clax-models; CLAX is left out without.
        pyclick_sessions: how many PyClick is given.
        models: which.
        rounds: how often each has its turn.
        seed: of the log.
    """
    log = simulate(sessions + 2 * held_out, queries, seed)
    train, valid, test = (
        log.slice(start, length)
        for start, length in (
            (0, sessions),
            (sessions, held_out),
            (sessions + held_out, held_out),
        )
    )
    has_pyclick = importlib.util.find_spec("pyclick") is not None
    table = Table("model", "Tandem /s", "encoded /s", "perplexity")
    for heading in ("CLAX /s", "perplexity", "ratio, strings", "ratio, encoded"):
        table.add_column(heading)
    if has_pyclick:
        table.add_column("PyClick /s")
        table.add_column("ratio")
    encoded = read_click_log(train)
    for name in models:
        kind = CLICK_MODELS[name]
        kind().fit(train.slice(0, 1000))  # compiles
        seconds: dict[str, list[float]] = {"strings": [], "encoded": [], "clax": []}
        peers = []
        for _ in range(rounds):
            seconds["strings"] += timed(kind.fit, kind, train)
            seconds["encoded"] += timed(kind.fit_log, kind, encoded)
            if clax_python is not None:
                peers.append(fit_clax(clax_python, name, train, valid, test))
                seconds["clax"].append(peers[-1]["seconds"])
        speed = {job: sessions / median(took) for job, took in seconds.items() if took}
        ours = speed["strings"]
        perplexity = kind().fit(train).perplexity(test)
        cells = [name, f"{ours:,.0f}", f"{speed['encoded']:,.0f}", f"{perplexity:.5f}"]
        if peers:
            cells += [f"{speed['clax']:,.0f}", f"{median(p['perplexity'] for p in peers):.5f}"]
            cells += [f"{speed[job] / speed['clax']:.1f}" for job in ("strings", "encoded")]
        else:
            cells += [""] * 4
        if has_pyclick:
            peer = fit_pyclick(name, train.slice(0, pyclick_sessions))
            cells += [f"{peer:,.0f}", f"{ours / peer:,.0f}"]
        table.add_row(*cells)
        Console(stderr=True).print(" ".join(cells))
    Console(width=140).print(table)


def timed(fit: Callable[..., ClickModel], kind: type[ClickModel], log: Any) -> list[float]:
    """Seconds of each of as many fits as a second has room for, at least one."""
    took: list[float] = []
    while sum(took) < 1:
        start = time.perf_counter()
        fit(kind(), log)
        took.append(time.perf_counter() - start)
    return took


def simulate(sessions: int, queries: int, seed: int) -> pa.Table:
    """A user who examines by position, more so after a skip, and stops when satisfied.

    Pages are ten of twelve documents in an order that a ranker draws anew with some noise.
    """
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, queries + 1) ** 1.0
    query = rng.choice(queries, sessions, p=share / share.sum())
    attractiveness = rng.beta(0.6, 2.4, (queries, 12))
    satisfaction = rng.beta(2, 2, (queries, 12))
    noisy = -attractiveness[query] + 0.5 * rng.standard_normal((sessions, 12))
    shown = np.argsort(noisy, axis=1)[:, :POSITIONS]
    clicked = np.zeros((sessions, POSITIONS), dtype=bool)
    gone = np.zeros(sessions, dtype=bool)
    examination = 1 / np.arange(1, POSITIONS + 1) ** 0.6
    for position in range(POSITIONS):
        document = shown[:, position]
        attracted = rng.random(sessions) < attractiveness[query, document] * examination[position]
        clicked[:, position] = attracted & ~gone
        satisfied = rng.random(sessions) < satisfaction[query, document]
        gone |= clicked[:, position] & satisfied
    names = np.array([f"document-{n}" for n in range(queries * 12)], dtype=object)
    starts = np.arange(0, sessions * POSITIONS + 1, POSITIONS, dtype=np.int32)
    doc_ids = pa.array(names[(query[:, None] * 12 + shown).ravel()], pa.string())
    return pa.table(
        {
            "session_id": [f"session-{n}" for n in range(sessions)],
            "query_id": [f"query-{n}" for n in query],
            "doc_ids": pa.ListArray.from_arrays(pa.array(starts), doc_ids),
            "clicks": pa.ListArray.from_arrays(pa.array(starts), pa.array(clicked.ravel())),
        }
    )


def fit_clax(
    python: Path, name: str, train: pa.Table, valid: pa.Table, test: pa.Table
) -> dict[str, float]:
    """Runs clax_peer.py in the peer's environment."""
    everything = pa.concat_tables([train, valid, test])
    once = everything.append_column("sessions", pa.repeat(1, everything.num_rows))
    encoded = encode_sessions(once)
    arrays: dict[str, Any] = {}
    start = 0
    for name_of_part, part in (("train", train), ("valid", valid), ("test", test)):
        rows = np.s_[start : start + part.num_rows]
        pair, clicks = (of.reshape(-1, POSITIONS)[rows] for of in (encoded.pair, encoded.clicks))
        arrays[f"{name_of_part}_query_doc_ids"] = (pair + 1).astype(np.int32)
        arrays[f"{name_of_part}_clicks"] = clicks
        start += part.num_rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.npz"
        np.savez(path, **arrays)
        script = Path(__file__).with_name("clax_peer.py")
        ran = subprocess.run([python, script, name, path], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    result: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return result


def fit_pyclick(name: str, sessions: pa.Table) -> float:
    """Sessions a second of PyClick's fit."""
    model_module = importlib.import_module(f"pyclick.click_models.{PYCLICK[name]}")
    session_type = importlib.import_module("pyclick.search_session.SearchSession").SearchSession
    result_type = importlib.import_module("pyclick.search_session.SearchResult").SearchResult
    log = []
    for row in sessions.to_pylist():
        session = session_type(row["query_id"])
        session.web_results = [
            result_type(doc_id, int(click))
            for doc_id, click in zip(row["doc_ids"], row["clicks"], strict=True)
        ]
        log.append(session)
    model = getattr(model_module, PYCLICK[name])()
    start = time.perf_counter()
    model.train(log)
    return sessions.num_rows / (time.perf_counter() - start)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
