"""The job `annotate`: every pair of query and document once to the judge, parquet to parquet.

The pairs are numbered in query order and dealt into parts of `batch_size`. A part is what one
engine call answers and what one file holds, so a file that is there is a part that is done: that
is all that resuming has to know.
"""

import hashlib
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
from ray.data import ActorPoolStrategy
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import AutoConfig

from annotation.annotator import Annotator, Judge
from annotation.judge import demo_judge
from annotation.pointwise import GRADES
from annotation.prompts import load_prompt
from annotation.vllm_engine import engine_environment
from corpus.errors import InputError
from corpus.output_folder import begin_output, finish_output
from corpus.tables import Collection, check_table, read_collection, table_path, write_parquet

DEMO_JUDGE = "demo-judge"


def annotate(
    collection: Path,
    output: Path,
    model: str = DEMO_JUDGE,
    prompt: str = "pointwise_relevance",
    max_model_len: int = 2048,
    batch_size: int = 1000,
    engines: int = 1,
    cpus_per_engine: int = 1,
    gpus_per_engine: int = 0,
    resume: bool = False,
) -> None:
    """Lets a large language model grade every candidate pair from 0 to 3.

    Writes `annotations.parquet` into the output folder, a folder of parts. Pairs are those of the
    collection's candidates or, where it has none, those that the sessions show.

    Args:
        collection: folder of the collection to annotate.
        output: folder to write the annotations into.
        model: the judge: a Hugging Face id, the folder of a checkpoint, or demo-judge, which is
            trained on the spot (once) on a simulated world.
        prompt: what the judge is asked: a file of annotation/prompts, without its ending, or the
            path of a Jinja file with the fields query, title and body.
        max_model_len: the longest prompt, in tokens; documents are cut to fit. A model that reads
            fewer tokens has its own limit.
        batch_size: pairs that an engine gets at once, and that an interruption can cost.
        engines: engines that work side by side.
        cpus_per_engine: CPUs that Ray keeps for each engine, and threads that it uses.
        gpus_per_engine: GPUs that the model is spread over in each engine; 0 runs it on the CPU.
        resume: go on with an output folder that an earlier run, with the same settings, has begun.

    Raises:
        InputError: a setting or the collection cannot be used; nothing has been started then.
    """
    counts = {"batch_size": batch_size, "engines": engines, "cpus_per_engine": cpus_per_engine}
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} must be at least 1, not {count}")
    tables = read_collection(collection)
    pairs = pairs_to_annotate(tables, collection)
    checkpoint = str(demo_judge()) if model == DEMO_JUDGE else model
    longest = min(max_model_len, _context_length(checkpoint))
    judge = Judge(model, checkpoint, load_prompt(prompt), longest)
    judge.encoder()  # a tokenizer that will not do is refused before any engine starts
    settings = {
        "collection": str(collection),
        "pairs_hash": _hash(pairs),
        "model": model,
        "checkpoint": Path(checkpoint).name,
        "prompt": prompt,
        "prompt_id": judge.prompt.prompt_id,
        "max_model_len": max_model_len,
        "batch_size": batch_size,
    }
    if not begin_output(output, "annotate", settings, resume):
        print(f"{output}: is complete; nothing to do")
        return
    folder = table_path(output, "annotations")
    part = np.arange(pairs.num_rows) // batch_size
    missing = [number for number in np.unique(part) if not _part_path(folder, number).exists()]
    rest = pairs.append_column("part", pa.array(part)).filter(np.isin(part, missing))
    speed = ""
    if rest.num_rows:
        answers = _run_engines(rest, tables, judge, engines, cpus_per_engine, gpus_per_engine)
        speed = f"; {_write_parts(answers, folder, pairs.num_rows, rest.num_rows):,.0f} pairs/s"
    finish_output(output)
    print(f"{_summary(pq.read_table(folder))}{speed} -> {folder}")


def pairs_to_annotate(tables: Collection, folder: str | Path) -> pa.Table:
    """Lists the distinct pairs of the candidates or, if there are none, of the sessions.

    Args:
        tables: the collection.
        folder: where it lies, for the error's text.

    Returns:
        query_row and doc_row (int64), rows of `tables.queries` and `tables.documents`; by query,
        then by the rank of the candidates.

    Raises:
        InputError: there are neither candidates nor sessions.
    """
    candidates, sessions = tables.candidates, tables.sessions
    if candidates.num_rows:
        query_id, doc_id, rank = (candidates[name] for name in ("query_id", "doc_id", "rank"))
    elif sessions.num_rows:
        shown = sessions["doc_ids"].combine_chunks()
        query_id = sessions["query_id"].take(pc.list_parent_indices(shown))
        doc_id = shown.flatten()
        rank = pa.repeat(1, len(doc_id))
    else:
        raise InputError(
            f"{folder}: has neither candidates nor sessions; there is no pair to annotate"
        )
    listed = pa.table(
        {
            "query_row": pc.index_in(query_id, value_set=tables.queries["query_id"]),
            "doc_row": pc.index_in(doc_id, value_set=tables.documents["doc_id"]),
            "rank": rank,
        }
    )
    distinct = listed.group_by(["query_row", "doc_row"]).aggregate([("rank", "min")])
    order = [(column, "ascending") for column in ("query_row", "rank_min", "doc_row")]
    return distinct.sort_by(order).select(["query_row", "doc_row"])


def _run_engines(
    pairs: pa.Table, tables: Collection, judge: Judge, engines: int, cpus: int, gpus: int
) -> Iterator[pa.Table]:
    """Yields the answers to each part as an engine has them; no order is kept."""
    starts = np.flatnonzero(np.diff(pairs["part"], prepend=-1))
    stops = [*starts[1:], pairs.num_rows]
    dataset = ray.data.from_arrow([pairs[a:b] for a, b in zip(starts, stops, strict=True)])
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    annotated = dataset.map_batches(
        Annotator,
        fn_constructor_kwargs={
            "judge": judge,
            "gpus": gpus,
            "queries": ray.put(tables.queries),
            "documents": ray.put(tables.documents),
        },
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=engines),
        num_cpus=cpus,
        num_gpus=gpus,
        runtime_env={"env_vars": engine_environment(gpus)},
    )
    yield from annotated.iter_batches(batch_size=None, batch_format="pyarrow")


def _write_parts(answers: Iterable[pa.Table], folder: Path, total: int, rest: int) -> float:
    """Writes each part as it comes; returns pairs a second since the first engine was up."""
    columns = [
        TextColumn("annotate"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    ]
    first_start, written = math.inf, 0
    with Progress(*columns) as progress:
        task = progress.add_task("", total=total, completed=total - rest, note="engine starts")
        for answer in answers:
            path = _part_path(folder, answer["part"][0].as_py())
            rows = answer.drop_columns(["part", "started"])
            write_parquet(check_table(rows, "annotations", path), path)
            written += answer.num_rows
            first_start = min(first_start, answer["started"][0].as_py())
            speed = written / (time.time() - first_start)
            progress.update(task, advance=answer.num_rows, note=f"{speed:,.0f} pairs/s")
    return speed


def _part_path(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.parquet"


def _context_length(model: str) -> int:
    """Tokens that the model reads.

    Raises:
        InputError: there is no such model.
    """
    try:
        config = AutoConfig.from_pretrained(model).get_text_config()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{model}: is neither the folder of a model nor one that Hugging Face has: {error}"
        ) from error
    return int(getattr(config, "max_position_embeddings", sys.maxsize))


def _hash(pairs: pa.Table) -> str:
    columns = np.stack([pairs["query_row"].to_numpy(), pairs["doc_row"].to_numpy()])
    return hashlib.sha256(columns.astype(np.int64).tobytes()).hexdigest()[:12]


def _summary(annotations: pa.Table) -> str:
    errors = Counter(
        error.partition(":")[0] for error in annotations["error"].drop_null().to_pylist()
    )
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(errors.items()))
    counts = Counter(annotations["grade"].drop_null().to_pylist())
    grades = ", ".join(f"{grade}: {counts[grade]:,}" for grade in GRADES)
    return (
        f"annotated {annotations.num_rows:,} pairs; {pc.sum(annotations['cut']).as_py():,} cut, "
        f"{errors.total():,} failed{f' ({kinds})' if kinds else ''}; grades {grades}"
    )
