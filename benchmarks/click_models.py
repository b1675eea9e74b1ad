"""How fast click models are fitted, and how well they foretell clicks, beside CLAX and PyClick.

    python benchmarks/click_models.py --clax_python ENVIRONMENT/bin/python

Makes a log by a user who is none of the models, fits each model to it, and measures sessions a
second of the whole fit (encoding of ids included) and the perplexity on held-out sessions. CLAX
(pip install clax-models jax==0.7.2, in an environment of its own) is given encoded ids in memory
and stops by its own rule; compilation is not counted on either side. PyClick runs where it can be
imported, on as many sessions as it does in a minute or so.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder, where a file has the name of a package

import numpy as np
import pyarrow as pa
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

import clicks
from clicks.click_log import encode_sessions
from clicks.fitting import CLICK_MODELS

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
        rounds: how often each is fitted, in turn; the fastest counts.
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
    table = Table("model", "Tandem /s", "perplexity", "CLAX /s", "perplexity", "ratio")
    if has_pyclick:
        table.add_column("PyClick /s")
        table.add_column("ratio")
    clicks.distinct_sessions(train.slice(0, 1000))
    for name in models:
        kind = CLICK_MODELS[name]
        kind().fit(train.slice(0, 1000))  # compiles
        ours, peers = 0.0, []
        for _ in range(rounds):
            start = time.perf_counter()
            model = kind().fit(train)
            ours = max(ours, sessions / (time.perf_counter() - start))
            if clax_python is not None:
                peers.append(fit_clax(clax_python, name, train, valid, test))
        cells = [name, f"{ours:,.0f}", f"{model.perplexity(test):.5f}", "", "", ""]
        if peers:
            peer = min(peers, key=lambda fitted: fitted["seconds"])
            speed = sessions / peer["seconds"]
            cells[3:] = [f"{speed:,.0f}", f"{peer['perplexity']:.5f}", f"{ours / speed:.1f}"]
        if has_pyclick:
            speed = fit_pyclick(name, train.slice(0, pyclick_sessions))
            cells += [f"{speed:,.0f}", f"{ours / speed:,.0f}"]
        table.add_row(*cells)
        Console(stderr=True).print(" ".join(cells))
    Console(width=140).print(table)


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
        arrays[f"{name_of_part}_query_doc_ids"] = (encoded.pair[rows] + 1).astype(np.int32)
        arrays[f"{name_of_part}_clicks"] = encoded.clicks[rows]
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
