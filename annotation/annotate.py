"""The job `annotate`: every pair of query and document once to the judge, parquet to parquet.

The pairs are numbered in query order and dealt into parts of `batch_size`. A part is what one
engine call answers and what one file holds (`annotation.parts`).
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy

from annotation.annotator import Annotator, Judge, until_closed
from annotation.endpoint import Endpoint
from annotation.engine import RETRIED, EngineChoice
from annotation.estimate import count_tokens, print_estimate, print_probe, probe_pairs
from annotation.pairs import (
    Budget,
    Policy,
    hash_texts,
    number_parts,
    pairs_to_annotate,
    spend_budget,
)
from annotation.parts import any_grade, unanswered_pairs, write_parts
from annotation.prompts import Language, StrategyName, load_prompt
from annotation.summary import commonest_error, summarise
from annotation.vllm_engine import VllmPool
from cluster import connect
from corpus.errors import InputError
from corpus.mapped_tables import map_table
from corpus.output_folder import begin_output, finish_output
from corpus.schemas import empty_table
from corpus.tables import Collection, read_collection, table_path

DEMO_JUDGE = "demo-judge"


def annotate(
    collection: Path,
    output: Path,
    model: str = DEMO_JUDGE,
    strategy: StrategyName = "pointwise",
    criterion: str = "relevance",
    language: Language = "english",
    prompt: Path | None = None,
    examples: Path | None = None,
    engine: EngineChoice = VllmPool(),  # noqa: B008 - read only; the command line shows it
    max_model_len: int = 2048,
    documents_per_prompt: int = 20,
    batch_size: int = 1000,
    buckets: str | None = None,
    max_pairs: int | None = None,
    max_tokens: int | None = None,
    policy: Policy = "tail",
    estimate: bool = False,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Lets a large language model grade every candidate pair from 0 to 3.

    Writes `annotations.parquet` into the output folder, a folder of parts. Pairs are those of the
    collection's candidates or, where it has none, those that the sessions show.

    Args:
        collection: folder of the collection to annotate.
        output: folder to write the annotations into.
        model: the judge: a Hugging Face id, the folder of a checkpoint, the name that an endpoint
            knows, or demo-judge, which is trained on the spot (once) on a simulated world.
        strategy: how the judge is asked: pointwise (a grade for one document), listwise (a grade
            for each of several), selection (which of several are good) or ranking (their order).
        criterion: what grades mean: relevance, utility, or the path of a text file.
        language: of the prompt and the criterion.
        prompt: a Jinja file to ask with instead of the strategy's own, with the fields query,
            documents (each with title and body), title, body, criterion and examples.
        examples: a YAML file of examples to show first: a list of query and documents (title,
            body, grade).
        engine: where the model runs: VllmPool or Endpoint.
        max_model_len: the longest prompt and answer, in tokens; documents are cut to fit. A model
            that reads fewer tokens has its own limit.
        documents_per_prompt: how many documents a prompt shows at most; not for pointwise.
        batch_size: pairs that an engine gets at once, and that an interruption can cost.
        buckets: annotate only queries of these frequency buckets: some of high,medium,low.
        max_pairs: annotate this many pairs at most.
        max_tokens: spend about this many tokens at most, of prompts and the longest answers.
        policy: what max_pairs or max_tokens is spent on first: the rarest queries (tail); any pair
            alike (uniform); the pairs that the fewest sessions showed (fewest_impressions); or
            those whose click rate the sessions leave most open (widest_posterior).
        estimate: only say how many pairs, tokens and hours it will be, from a short probe.
        seed: of the order in which documents are shown, and of the choice of pairs.
        resume: go on with an output folder that an earlier run, with the same settings, has begun.

    Raises:
        InputError: a setting or the collection cannot be used, and nothing has been started; or
            an endpoint refuses to answer, and what it has answered is kept.
    """
    _check_sizes(model, strategy, engine, documents_per_prompt, batch_size, seed)
    budget = _budget(buckets, max_pairs, max_tokens, policy)
    tables = read_collection(collection, map_table)
    pairs = pairs_to_annotate(tables, collection)
    checkpoint = model
    if model == DEMO_JUDGE:
        from annotation.judge import demo_judge  # brings scikit-learn, which no other judge needs

        checkpoint = str(demo_judge())
    judge = Judge(
        annotator=model,
        model=checkpoint,
        engine=engine,
        strategy=strategy,
        prompt=load_prompt(strategy, language, criterion, prompt, examples),
        max_model_len=min(max_model_len, engine.context_length(checkpoint)),
        documents_per_prompt=documents_per_prompt,
        seed=seed,
    )
    judge.check(int(np.bincount(pairs["query_row"].to_numpy()).max()))
    tokens_of = count_tokens(judge, tables)
    pairs = spend_budget(pairs, tables, budget, judge.shows_lists, tokens_of, seed)
    # From here on only the texts are needed; a long log would fill the memory for nothing.
    tables = replace(tables, candidates=empty_table("candidates"), sessions=empty_table("sessions"))
    if estimate:
        probe = probe_pairs(pairs, judge, engine.actors())
        print_probe(_run_engines(probe, tables, judge), pairs.num_rows)
        return
    settings = {
        "collection": str(collection),
        "model": model,
        "checkpoint": Path(checkpoint).name,
        **engine.identity(),
        "strategy": strategy,
        "prompt_id": judge.prompt.prompt_id,
        "max_model_len": max_model_len,
        "documents_per_prompt": documents_per_prompt,
        "batch_size": batch_size,
        "buckets": buckets,
        "max_pairs": max_pairs,
        "max_tokens": max_tokens,
        "policy": policy,
        "seed": seed,
        "texts_hash": hash_texts(pairs, tables),
    }
    if not begin_output(output, "annotate", settings, resume):
        print(f"{output}: is complete; nothing to do")
        return
    folder = table_path(output, "annotations")
    pairs = pairs.append_column(
        "part", pa.array(number_parts(pairs, judge.shows_lists, batch_size))
    )
    rest = pairs.filter(unanswered_pairs(pairs, folder, judge.shows_lists))
    speed = ""
    if rest.num_rows:
        print_estimate(rest, tokens_of)
        answers = _run_engines(rest, tables, judge)
        try:
            per_second = write_parts(answers, folder, pairs.num_rows, rest.num_rows)
        except InputError as refusal:
            hint = f"what was answered is in {output}: mend that and --resume"
            raise InputError(f"{refusal}; {hint}") from None
        speed = f"; {per_second:,.0f} pairs/s"
    print(f"{summarise(folder)}{speed} -> {folder}")
    unanswered = int(unanswered_pairs(pairs, folder, judge.shows_lists).sum())
    if unanswered == 0:
        finish_output(output)
        return
    reason = commonest_error(folder, RETRIED)
    if not any_grade(folder):
        raise InputError(f"{output}: no pair was answered: {reason}; mend that and --resume")
    print(f"{unanswered:,} pairs are still without an answer: --resume asks for them again")
    print(f"the most frequent reason: {reason}")


def check_annotation_settings(
    model: str,
    strategy: StrategyName,
    criterion: str,
    language: Language,
    prompt: Path | None,
    examples: Path | None,
    engine: EngineChoice,
    max_model_len: int,
    documents_per_prompt: int,
    batch_size: int,
    buckets: str | None,
    max_pairs: int | None,
    max_tokens: int | None,
    policy: Policy,
    seed: int,
) -> None:
    """Refuses settings of `annotate` that no collection could make right, see there.

    The judge and its tokenizer must be there, but for the demo's, which is made in time.

    Raises:
        InputError: naming the setting, the file or the model.
    """
    _check_sizes(model, strategy, engine, documents_per_prompt, batch_size, seed)
    _budget(buckets, max_pairs, max_tokens, policy)
    asked = load_prompt(strategy, language, criterion, prompt, examples)
    if model == DEMO_JUDGE:
        return
    longest = min(max_model_len, engine.context_length(model))
    judge = Judge(model, model, engine, strategy, asked, longest, documents_per_prompt, seed)
    judge.check(longest_list=1)


def _check_sizes(
    model: str,
    strategy: StrategyName,
    engine: EngineChoice,
    documents_per_prompt: int,
    batch_size: int,
    seed: int,
) -> None:
    if batch_size < 1 or documents_per_prompt < 1:
        raise InputError("batch_size and documents_per_prompt must be at least 1")
    if strategy == "ranking" and documents_per_prompt < 2:
        raise InputError("ranking needs documents_per_prompt of at least 2")
    if model == DEMO_JUDGE and isinstance(engine, Endpoint):
        raise InputError("give --model, the name that the endpoint knows the model by")
    if seed < 0:
        raise InputError(f"seed must be at least 0, not {seed}")


def _budget(
    buckets: str | None, max_pairs: int | None, max_tokens: int | None, policy: Policy
) -> Budget:
    wanted = [bucket.strip() for bucket in buckets.split(",")] if buckets else None
    return Budget(wanted, max_pairs, max_tokens, policy)


def _run_engines(pairs: pa.Table, tables: Collection, judge: Judge) -> Iterator[pa.Table]:
    """Yields the answers to each part as an engine has them, in no order, until it is closed.

    Raises:
        InputError: an endpoint refuses to answer.
    """
    connect()
    # What reading and hashing took would otherwise stay with this process for the whole run.
    pa.default_memory_pool().release_unused()
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
            "queries": ray.put(tables.queries),
            "documents": ray.put(tables.documents),
            "secret": judge.engine.secret(),
        },
        batch_size=None,
        batch_format="pyarrow",
        # Two batches at a time: one is encoded while the engine answers the other.
        compute=ActorPoolStrategy(
            size=judge.engine.actors(),
            max_concurrent_calls_per_actor=2,
            enable_true_multi_threading=True,
        ),
        **judge.engine.actor_options(),
    )
    yield from until_closed(annotated.iter_batches(batch_size=None, batch_format="pyarrow"))
