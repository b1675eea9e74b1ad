"""The files of a fitted click model."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clicks.inference.rate_prior import PairRates
from clicks.log.click_log import Pairs
from clicks.log.numbering import number_ids, take_ids
from clicks.log.trials import Array
from corpus.errors import InputError
from corpus.free_memory import give_back_free_memory
from corpus.mapped_arrays import slices
from corpus.places import Place, arrow_files, whole_file, write_whole

ROWS_AT_ONCE = 100_000  # that are written with their ids


def write_model(
    folder: Place,
    model: str,
    numbers: Mapping[str, Array],
    rates: Mapping[str, PairRates],
    of: Pairs,
) -> None:
    """Writes model.json, pairs.parquet and documents.parquet.

    Args:
        folder: to write them into.
        model: the name of its class.
        numbers: parameters of the whole log, by name.
        rates: of pairs and of documents, by name.
        of: the pairs.
    """
    kinds = dict.fromkeys(rates, pa.float64())
    schema = pa.schema({"query_id": pa.string(), "doc_id": pa.string()} | kinds)
    with whole_file(folder / "pairs.parquet") as file, pq.ParquetWriter(file, schema) as pairs:
        for some in slices(len(of.query), ROWS_AT_ONCE):
            columns = {"query_id": take_ids(of.queries, of.query[some])}
            columns |= {"doc_id": take_ids(of.documents, of.document[some])}
            columns |= {name: pa.array(rate.pair[some]) for name, rate in rates.items()}
            pairs.write_table(pa.table(columns))
    schema = pa.schema({"doc_id": of.documents.type} | kinds)
    path = folder / "documents.parquet"
    with whole_file(path) as file, pq.ParquetWriter(file, schema) as documents:
        for some in slices(len(of.documents), ROWS_AT_ONCE):
            columns = {"doc_id": of.documents.slice(some.start, some.stop - some.start)}
            columns |= {name: pa.array(rate.document[some]) for name, rate in rates.items()}
            documents.write_table(pa.table(columns))
    give_back_free_memory()
    learned = {
        "model": model,
        "numbers": {name: _as_json(value) for name, value in numbers.items()},
        "means": {name: rate.mean for name, rate in rates.items()},
    }
    write_whole(folder / "model.json", json.dumps(learned, indent=1))


def read_model(folder: Place, model: str) -> tuple[Pairs, dict[str, Any]]:
    """Reads what `write_model` wrote.

    Args:
        folder: that it wrote into.
        model: the name of the class that is wanted.

    Returns:
        The pairs; and parameters and rates by name.

    Raises:
        InputError: the folder holds no model, or one of another class.
    """
    path = folder / "model.json"
    if not path.exists():
        raise InputError(f"{folder}: there is no click model in it ({path.name} is missing)")
    saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if saved["model"] != model:
        raise InputError(f"{folder}: holds a {saved['model']}, not a {model}")
    store, inside = arrow_files(folder)
    pairs, documents = (
        pq.read_table(f"{inside}/{name}.parquet", filesystem=store)
        for name in ("pairs", "documents")
    )
    queries, query = number_ids(pairs["query_id"])
    names, _ = number_ids(documents["doc_id"])
    document = pc.index_in(pairs["doc_id"].cast(names.type), value_set=names).to_numpy()
    learned: dict[str, Any] = {
        name: np.array(value, float) if isinstance(value, list) else value
        for name, value in saved["numbers"].items()
    }
    for name, mean in saved["means"].items():
        learned[name] = PairRates(pairs[name].to_numpy(), documents[name].to_numpy(), mean)
    return Pairs(queries, names, query.astype(np.int64), document.astype(np.int64)), learned


def _as_json(numbers: Array) -> Any:
    """Nested lists of the numbers, with None for NaN."""
    values = numbers.astype(object)
    values[np.isnan(numbers)] = None
    return values.tolist()
