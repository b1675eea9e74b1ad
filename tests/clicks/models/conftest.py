"""Sessions, pages and models with known parameters, for the tests of click models."""

import numpy as np
import pyarrow as pa

from clicks import (
    ClickChainModel,
    ClickModel,
    UserBrowsingModel,
)
from clicks.fit_clicks import CLICK_MODELS
from clicks.inference.rate_prior import PairRates
from corpus.schemas import SCHEMAS

MODELS = list(CLICK_MODELS.values())


def make_sessions(sessions: list[tuple[str, list[str], list[bool]]]) -> pa.Table:
    columns = list(zip(*sessions, strict=True))
    session_ids = [f"s{row}" for row in range(len(sessions))]
    return pa.table([session_ids, *map(list, columns)], schema=SCHEMAS["sessions"])


def random_pages(queries: int, documents: int, length: int, count: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    shown = rng.permuted(np.tile(np.arange(documents), (count, 1)), axis=1)[:, :length]
    query = rng.integers(queries, size=count)
    # A document has one query, so that the prior has one level only.
    doc_ids = np.char.add(np.char.add(query[:, None].astype(str), "-"), shown.astype(str))
    return pa.table({"query_id": query.astype(str), "doc_ids": doc_ids.tolist()})


def a_model(kind: type[ClickModel], seed: int = 0) -> ClickModel:
    """A model of 10 queries with 6 documents each and pages of 4, with random parameters."""
    rng = np.random.default_rng(seed)
    pages = random_pages(10, 6, 4, 400, seed)
    no_clicks = pa.array([[False] * 4] * pages.num_rows)
    ids = pa.array([str(row) for row in range(pages.num_rows)])
    model = kind().fit(pages.append_column("clicks", no_clicks).append_column("session_id", ids))
    for name in model.rates:
        mean = 0.6 if name == "satisfaction_" else 0.4
        rates = rng.beta(4 * mean, 4 * (1 - mean), len(model.pairs_.query))
        setattr(model, name, PairRates(rates, rates[: len(model.pairs_.documents)], 0.3))
    examination = np.array([1.0, 0.8, 0.55, 0.4])
    numbers = {
        "rate_": 0.2,
        "position_rates_": 0.5 * examination,
        "examination_": examination,
        "continuation_": np.array([0.8, 0.6, 0.3, 0.5]),
        "perseverance_": 0.8,
    }
    if kind is UserBrowsingModel:
        distance = np.arange(4)[:, None] + 1 - np.arange(4)
        numbers["examination_"] = np.where(
            np.arange(4) == 0, examination[:, None], 0.9 / np.maximum(distance, 1) ** 0.5
        )
    numbers["assumed_examination_"] = numbers["examination_"]
    if kind is ClickChainModel:
        numbers["continuation_"] = np.array([0.9, 0.8, 0.3])
    for name in model.numbers:
        setattr(model, name, numbers[name])
    return model


def rates_of(model: ClickModel, name: str) -> dict[tuple[str, str], float]:
    pairs = model.pairs_
    query_ids = pairs.queries.take(pairs.query).to_pylist()
    doc_ids = pairs.documents.take(pairs.document).to_pylist()
    return dict(
        zip(zip(query_ids, doc_ids, strict=True), getattr(model, name).pair.tolist(), strict=True)
    )
