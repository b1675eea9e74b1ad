"""The job `annotate`: a judge grades every query-document pair, from parquet to parquet.

The pairs are sorted by query and cut into parts of `batch_size`. A part is answered by one call of
the engine and written into one file (`annotation.plan.parts`).
"""

from contextlib import closing
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from annotation.engines.base import BUDGET_ERROR, RETRIED, EngineChoice
from annotation.engines.checkpoint_files import DEMO_JUDGE, named_checkpoint
from annotation.engines.token_spend import SPEND_FILE, read_spend
from annotation.engines.vllm import VllmPool
from annotation.judge import Judge
from annotation.plan.budget import Policy, spend_budget
from annotation.plan.cost import count_tokens, print_estimate, print_probe, probe_pairs
from annotation.plan.parts import part_names, unanswered_pairs, write_parts
from annotation.plan.selection import (
    hash_texts,
    keep_pairs,
    number_parts,
    pairs_to_annotate,
    starts_of_runs,
)
from annotation.prompt_files import read_prompt
from annotation.prompts.prompt import Language, StrategyName
from annotation.settings_checks import check_sizes, read_budget
from annotation.summary import Summary, summarise
from annotation.told import told
from corpus.errors import InputError
from corpus.mapped_arrays import slices
from corpus.mapped_tables import map_collection
from corpus.output_folder import begin_output, check_output, finish_output
from corpus.places import Place
from corpus.schemas import empty_table
from corpus.tables import table_path


def annotate(
    collection: Place,
    output: Place,
    model: str = DEMO_JUDGE,
    strategy: StrategyName = "pointwise",
    criterion: str = "relevance",
    language: Language = "english",
    prompt: Place | None = None,
    examples: Place | None = None,
    engine: EngineChoice = VllmPool(),  # noqa: B008 - read only; the command line shows it
    max_model_len: int = 2048,
    documents_per_prompt: int = 20,
    batch_size: int = 1000,
    all_queries: bool = False,
    buckets: str | None = None,
    max_pairs: int | None = None,
    max_tokens: int | None = None,
    policy: Policy = "tail",
    reasoning: bool = False,
    reasoning_tokens: int = 1024,
    max_failed: float = 0.5,
    estimate: bool = False,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Lets a large language model grade candidate pairs from 0 to 3.

    Writes `annotations.parquet` into the output folder, a folder of parts. Pairs are those of the
    collection's candidates or, where it has none, those that the sessions show; by default of the
    queries that training may read and of validation queries, as others would only cost.

    Args:
        collection: folder of the collection to annotate.
        output: folder to write the annotations into.
        model: the judge: a Hugging Face id, the folder or URL of a checkpoint, the name that an
            endpoint knows, or demo-judge, a small one that comes with Tandem for simulated worlds.
        strategy: how the judge is asked: pointwise (a grade for one document), listwise (a grade
            for each of several), selection (which of several are good) or ranking (their order).
        criterion: what grades mean: relevance, utility, or the path of a text file.
        language: language of the prompt and the criterion.
        prompt: a Jinja file to ask with instead of the strategy's own, with the fields query,
            documents (each with title and body), title, body, criterion and examples.
        examples: a YAML file of examples to show first: a list of query and documents (title,
            body, grade).
        engine: where the model runs: VllmPool or Endpoint.
        max_model_len: the longest prompt and answer, in tokens; documents are cut to fit. A model
            that reads fewer tokens has its own limit.
        documents_per_prompt: how many documents a prompt shows at most; not for pointwise.
        batch_size: pairs that an engine gets at once, and that an interruption can cost.
        all_queries: annotate the pairs of all queries.
        buckets: annotate only queries of these frequency buckets: some of high,medium,low.
        max_pairs: annotate this many pairs at most.
        max_tokens: spend about this many tokens at most, of prompts and the longest answers.
        policy: what max_pairs or max_tokens is spent on first: pairs of the rarest queries (tail);
            random pairs (uniform); pairs with the fewest impressions (fewest_impressions); or those
            with the widest posterior of the click-through rate (widest_posterior).
        reasoning: let the judge think before it answers; what it thought is kept in the column
            reasoning.
        reasoning_tokens: the limit of tokens of a thought before each answer, with --reasoning;
            they are part of max_model_len.
        max_failed: the share of pairs, from 0 to 1, that may end with an error; a job that has more
            of them stops, or does not count as complete.
        estimate: only say how many pairs, tokens and hours it will be, from a short probe.
        seed: seed of the order in which documents are shown, and of the choice of pairs.
        resume: go on with an output folder that an earlier run, with the same settings, has begun.

    Raises:
        InputError: a setting or the collection cannot be used, and nothing has been started; or
            the engine answers no more, no pair has a grade or too many have none: what was
            answered is kept, and the job is not complete.
    """
    check_sizes(
        model,
        strategy,
        engine,
        documents_per_prompt,
        batch_size,
        reasoning_tokens,
        max_failed,
        seed,
    )
    budget = read_budget(buckets, max_pairs, max_tokens, policy)
    if not estimate:
        check_output(output, "annotate", resume)
    tables = map_collection(collection)
    pairs = pairs_to_annotate(tables, collection, all_queries)
    if model == DEMO_JUDGE:
        # Brings scikit-learn, which no other judge needs.
        from annotation.demo_judge.shipped import demo_judge

        demo_judge()  # tells how well it grades
    judge = Judge(
        annotator=model,
        model=model,
        engine=engine,
        strategy=strategy,
        prompt=read_prompt(strategy, language, criterion, prompt, examples),
        max_model_len=min(max_model_len, engine.context_length(model)),
        documents_per_prompt=documents_per_prompt,
        seed=seed,
        thinking=reasoning_tokens if reasoning else 0,
    )
    judge.check(_longest_list(pairs))
    tokens_of = count_tokens(judge, tables)
    pairs = spend_budget(pairs, tables, budget, judge.shows_lists, tokens_of, seed)
    # From here on only the texts are needed; a long log would fill the memory for nothing.
    tables = replace(tables, candidates=empty_table("candidates"), sessions=empty_table("sessions"))
    from annotation.actor import until_closed, until_failing  # these bring Ray
    from annotation.pool import run_engines
    from cluster.reach import check_reach

    if estimate:
        probe = probe_pairs(pairs, judge, engine.actors())
        with closing(run_engines(probe, tables, judge, None)) as engines:
            print_probe(until_closed(engines), pairs.num_rows)
        return
    settings = {
        "collection": str(collection),
        "model": model,
        "checkpoint": PurePosixPath(named_checkpoint(model)).name,
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
    # Only where they are given, so that folders from before they were settings can be resumed.
    if reasoning:
        settings["reasoning_tokens"] = reasoning_tokens
    if all_queries:
        settings["all_queries"] = all_queries
    check_reach([], [model])
    if not begin_output(output, "annotate", settings, resume):
        print(f"{output}: is complete; nothing to do")
        return
    folder = table_path(output, "annotations")
    pairs = pairs.append_column(
        "part", pa.array(number_parts(pairs, judge.shows_lists, batch_size))
    )
    unanswered = unanswered_pairs(pairs, folder, judge.shows_lists)
    rest = keep_pairs(pairs, lambda some: unanswered[some])
    speed = ""
    if rest.num_rows:
        print_estimate(rest, tokens_of)
        # An error that is kept, by a debugger or until Python ends, keeps engines that only the
        # end of their iterator ends.
        with closing(run_engines(rest, tables, judge, output)) as engines:
            answers = told(engines, output.name, rest.num_rows)
            answers = until_closed(until_failing(answers, max_failed))
            try:
                per_second = write_parts(
                    answers, folder, pairs.num_rows, rest.num_rows, part_names(folder)
                )
            except InputError as refusal:
                hint = f"what was answered is in {output}: mend that and --resume"
                raise InputError(f"{refusal}; {hint}") from None
        speed = f"; {per_second:,.0f} pairs/s"
    found = summarise(folder)
    print(f"{found.told()}{speed} -> {folder}")
    if (budget_tokens := engine.budget()) is not None:
        spent = read_spend(output / SPEND_FILE)
        print(f"{spent:,} of {budget_tokens:,} tokens of the budget are spent, failures included")
    left = int(np.count_nonzero(unanswered_pairs(pairs, folder, judge.shows_lists)))
    refuse_failures(found, folder, max_failed, resumable=left > 0)
    if left == 0:
        finish_output(output)
        return
    print(f"{left:,} pairs are still without an answer: --resume asks for them again")
    print(f"the most frequent reason: {found.commonest_error(RETRIED)}")


def refuse_failures(found: Summary, folder: Place, max_failed: float, resumable: bool) -> None:
    """Refuses to take for a result what has no grade at all, or too few.

    Args:
        found: what stands in the parts.
        folder: of the parts, named in the error.
        max_failed: the share of pairs that may have failed.
        resumable: whether `--resume` would ask again.

    Raises:
        InputError: naming the most frequent reason.
    """
    again = "mend that and --resume" if resumable else "mend that and give another --output"
    if found.grades.total() == 0:
        raise InputError(f"{folder}: no pair was answered: {found.commonest_error()}; {again}")
    if found.failed > max_failed * found.judged:
        reason = found.commonest_error(but=(BUDGET_ERROR,))
        raise InputError(
            f"{folder}: {found.failed:,} of {found.judged:,} pairs failed, more than --max_failed "
            f"{max_failed:g} allows, most often with {reason}; {again}, or --resume with a higher "
            "--max_failed if that is as it should be"
        )


def _longest_list(pairs: pa.Table) -> int:
    """The most documents of a query."""
    starts = starts_of_runs(pairs["query_row"].to_numpy())
    return max(
        int(np.diff(starts[some.start : some.stop + 1]).max()) for some in slices(len(starts) - 1)
    )
