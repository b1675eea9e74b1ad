"""Fits a click model of CLAX, in an environment that has clax-models; used by click_models.py.

    python -m benchmarks.clax_peer MODEL DATA.npz

DATA holds query_doc_ids (from 1, 0 beyond a page's end) and clicks of three logs: train, valid and
test. Prints, as JSON on the last line, the seconds of the fit without compilation, its epochs, and
the perplexity on test.
"""

import json
import sys
import time

import clax
import clax.models
import numpy as np
import optax
from clax import Trainer
from flax import nnx

BATCH = 512


def batches(data: dict[str, np.ndarray], name: str) -> list[dict[str, np.ndarray]]:
    """Whole batches, so that nothing is compiled twice; made before the clock starts."""
    ids, clicks = data[f"{name}_query_doc_ids"], data[f"{name}_clicks"].astype(np.float32)
    positions = np.broadcast_to(np.arange(1, ids.shape[1] + 1), ids.shape)
    return [
        {
            "query_doc_ids": ids[rows],
            "clicks": clicks[rows],
            "positions": positions[rows],
            "mask": ids[rows] > 0,
        }
        for start in range(0, len(ids) - BATCH + 1, BATCH)
        for rows in [np.s_[start : start + BATCH]]
    ]


def make(name: str, data: dict[str, np.ndarray]) -> nnx.Module:
    """A model with its own defaults."""
    pairs = max(int(data[f"{part}_query_doc_ids"].max()) for part in ("train", "valid", "test"))
    sizes = {"query_doc_pairs": pairs}
    if name in ("PositionBasedModel", "UserBrowsingModel", "DependentClickModel"):
        sizes["positions"] = data["train_query_doc_ids"].shape[1]
    if name == "SimplifiedDynamicBayesianNetwork":
        return clax.models.DynamicBayesianNetwork(fix_continuation=True, **sizes, rngs=nnx.Rngs(0))
    return getattr(clax.models, name)(**sizes, rngs=nnx.Rngs(0))


def perplexity(model: nnx.Module, log: list[dict[str, np.ndarray]]) -> float:
    """Mean over positions of 2^(-mean log2-likelihood), clicks predicted alone."""
    total = count = 0.0
    for batch in log:
        chance = np.exp(np.asarray(model.predict_clicks(batch), dtype=np.float64))
        chance = np.clip(chance, 1e-9, 1 - 1e-9)
        surprise = np.log(np.where(batch["clicks"] > 0, chance, 1 - chance))
        total = total + np.where(batch["mask"], surprise, 0).sum(axis=0)
        count = count + batch["mask"].sum(axis=0)
    return float(np.exp(-total / count).mean())


def main(name: str, path: str) -> None:
    data = dict(np.load(path))
    train, valid, test = (batches(data, part) for part in ("train", "valid", "test"))
    trainer = Trainer(optimizer=optax.adamw(0.003), epochs=1)
    trainer.train(make(name, data), train[:2], valid[:2])  # compiles
    trainer.epochs = 50
    model = make(name, data)
    start = time.perf_counter()
    history = trainer.train(model, train, valid)
    seconds = time.perf_counter() - start
    result = {"seconds": seconds, "epochs": len(history), "perplexity": perplexity(model, test)}
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
