"""Tokenizes the pairs of lists once for all trainings on them, in a folder that they share."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from corpus.places import Place, is_local, reaching, whole_folder, write_whole
from rankers.data.fingerprint import fingerprint
from rankers.data.pair_template import find_template, pair_ids, text_ids
from rankers.data.pair_texts import PairTexts, sample_pairs
from rankers.data.token_files import KEYS, TEMPLATE, pair_keys, template_content, write_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Texts, or pairs, that are tokenized at once.
BLOCK = 2048

Tokenize = Callable[[pa.Table], pa.Table]
# Applies a function to blocks and gives the results in their order, as `map` does.
MapInOrder = Callable[[Tokenize, Iterable[pa.Table]], Iterable[pa.Table]]


def tokenize_once(
    texts: PairTexts,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    place: Place,
    writer: str,
    map_blocks: MapInOrder = map,
) -> Place:
    """Finds the token ids of pairs in a place that trainings share, or makes them there.

    The folder appears under its name when it is whole; in a store, its last file tells that it is.
    Of two that make the same one the first wins. What a kill leaves is replaced when the same
    writer comes again.

    Args:
        texts: from `rankers.data.pair_texts.number_texts`.
        tokenizer: of the model.
        max_length: tokens of a pair.
        place: folder that all nodes reach; made if it is not there.
        writer: who asks: the output folder, say, which belongs to one job.
        map_blocks: tokenizes blocks of texts, in their order.

    Returns:
        The folder within `place`, for `rankers.data.token_files.open_tokens`.

    Raises:
        InputError: `place` cannot be written, and does not hold them yet.
    """
    folder = place / fingerprint(texts, tokenizer, max_length)
    fill = partial(_fill, texts, tokenizer, max_length, map_blocks)
    if is_local(place):
        name = f".{folder.name}.{hashlib.sha256(writer.encode()).hexdigest()[:8]}"
        _fill_once(folder, place / name, fill)
    elif not (folder / TEMPLATE).exists():
        with (
            reaching(place, "hold token ids", "give another folder"),
            whole_folder(folder, last=TEMPLATE) as begun,
        ):
            fill(begun)
    return folder


def _fill_once(folder: Place, begun: Place, fill: Callable[[Path], None]) -> None:
    shutil.rmtree(begun, ignore_errors=True)
    if folder.exists():
        return
    with reaching(folder.parent, "hold token ids", "give another folder"):
        begun.mkdir(parents=True)
    fill(begun)
    try:
        begun.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(begun)


def _fill(
    texts: PairTexts,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    map_blocks: MapInOrder,
    folder: Path,
) -> None:
    template = find_template(tokenizer, max_length, *sample_pairs(texts))
    write_whole(folder / TEMPLATE, template_content(template))
    if template is None:
        _write_pairs(texts, tokenizer, max_length, folder, map_blocks)
        return
    tokenize = partial(_tokenize_texts, tokenizer=tokenizer, max_length=max_length)
    for name, column in (("queries", texts.queries), ("documents", texts.documents)):
        write_ids(map_blocks(tokenize, _blocks(pa.table({"text": column}))), folder / name)


def map_with_ray(cpus: float) -> MapInOrder:
    """A `map` over the nodes of a Ray cluster, by Ray Data, where there is more than one block.

    Args:
        cpus: that one block takes.
    """
    import ray.data  # readers of this module's folders, and their tests, need no Ray

    def map_blocks(function: Tokenize, blocks: Iterable[pa.Table]) -> Iterable[pa.Table]:
        tables = list(blocks)
        if len(tables) == 1:  # done here sooner than a worker starts
            return map(function, tables)
        # from_arrow would ask a task what each block is.
        mapped = ray.data.from_blocks(tables).map_batches(
            function, batch_format="pyarrow", batch_size=None, num_cpus=cpus
        )
        mapped.context.enable_progress_bars = False
        mapped.context.execution_options.preserve_order = True
        return mapped.iter_batches(batch_size=None, batch_format="pyarrow")

    return map_blocks


def _tokenize_texts(
    block: pa.Table, tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> pa.Table:
    return text_ids(tokenizer, block["text"].to_pylist(), max_length)


def _tokenize_pairs(
    block: pa.Table, tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> pa.Table:
    queries, documents = block["query"].to_pylist(), block["document"].to_pylist()
    return pair_ids(tokenizer, queries, documents, max_length)


def _write_pairs(
    texts: PairTexts,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    folder: Path,
    map_blocks: MapInOrder,
) -> None:
    keys, first = np.unique(pair_keys(texts.query_rows, texts.document_rows), return_index=True)
    np.save(folder / KEYS, keys)
    tokenize = partial(_tokenize_pairs, tokenizer=tokenizer, max_length=max_length)

    def blocks() -> Iterator[pa.Table]:
        for at in range(0, len(first), BLOCK):
            pairs = first[at : at + BLOCK]
            query = texts.queries.take(pa.array(texts.query_rows[pairs]))
            document = texts.documents.take(pa.array(texts.document_rows[pairs]))
            yield pa.table({"query": query, "document": document})

    write_ids(map_blocks(tokenize, blocks()), folder)


def _blocks(table: pa.Table) -> Iterator[pa.Table]:
    return (table.slice(at, BLOCK) for at in range(0, table.num_rows, BLOCK))
