"""How fast Tandem annotates, beside plain vLLM and beside ray.data.llm, in one run.

    python -m benchmarks.annotation_speed                  # the demo's judge
    python -m benchmarks.annotation_speed --model large    # 115M parameters, random weights
    python -m benchmarks.annotation_speed --model 7b --pairs 200000 --gpu true

Every contestant gets the same prompts, the same model, the same sampling parameters (one token, the
log-probabilities of four) and computes in the same kind of numbers, in turn, `rounds` times; the
ratio is that of the medians.
Speeds are steady ones, without the engine's start. vLLM has everything in memory, once as texts,
which it tokenizes itself, and once as token ids. Tandem and ray.data.llm go from parquet to
parquet: Tandem's speed is that from its first part's file to its last one's, and that of
ray.data.llm, which gets token ids, from when its engine gets the first prompt to its last answer.
"""

import contextlib
import io
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from annotation.annotate import annotate
from annotation.asking.ask import CHOICES
from annotation.asking.strategies import STRATEGIES
from annotation.demo_judge.shipped import demo_judge
from annotation.engines.vllm import VllmPool
from annotation.engines.vllm_start import compute_dtype
from annotation.plan.selection import pairs_to_annotate
from annotation.prompts.prompt import Document, StrategyName, load_prompt
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder
from benchmarks.gpu_peak import missing_gpu, peak_tflops, prompt_operations
from benchmarks.plain_vllm import MAX_MODEL_LEN, run_vllm
from benchmarks.random_judges import make_model
from cluster.connection import connect
from corpus.errors import InputError
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld
from corpus.tables import read_collection

DOCUMENTS_PER_QUERY = 12


def main(
    model: Literal["judge", "large", "7b"] = "judge",
    pairs: int = 12_000,
    rounds: int = 3,
    strategy_pairs: int = 600,
    ray_data_llm: bool = True,
    engine_threads: int = 1,
    gpu: bool = False,
) -> None:
    """Prints pairs a second of each contestant, their ratios, and the cost of each strategy.

    Args:
        model: the demo's judge; or, with random weights, one of 115M parameters, or one in the
            shape of a Qwen2.5-7B, whose weights vLLM makes up, for GPUs.
        pairs: number of pairs; of the other models than the judge, a tenth.
        rounds: how often each contestant runs.
        strategy_pairs: pairs that each strategy is timed on.
        ray_data_llm: whether ray.data.llm takes part.
        engine_threads: threads of the pipeline's engine; the others have as many as there are CPUs.
            A small model leaves the rest to encoding; a large one wants them all.
        gpu: only where there is a GPU, on which all engines run, with the share of its peak that
            Tandem uses; ray.data.llm takes no part, and strategies are not compared.
    """
    if gpu and (reason := missing_gpu()):
        print(reason)
        return
    if model == "7b" and not gpu:
        raise InputError("--model 7b needs --gpu true")
    gpus = int(gpu)
    threads = os.cpu_count() or 1
    connect()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoint = demo_judge() if model == "judge" else make_model(model, folder / model)
        # Without a file of weights vLLM makes them up, at once on the GPU.
        settings = {"load_format": "dummy"} if model == "7b" else {}
        pairs = pairs if model == "judge" else pairs // 10
        collection = make_collection(folder / "collection", pairs)
        prompts = encode_all(checkpoint, collection)
        print(
            f"{len(prompts):,} prompts of {statistics.mean(len(p.token_ids) for p in prompts):.0f} "
            f"tokens; {threads} threads, for the pipeline's engine {engine_threads}"
        )
        speeds: dict[str, list[float]] = {}
        for turn in range(rounds):
            for name, speed in run_vllm(checkpoint, prompts, threads, gpus, settings).items():
                speeds.setdefault(f"vLLM, from {name}", []).append(speed)
            output = folder / f"annotations-{turn}"
            speed = run_tandem(
                collection,
                output,
                checkpoint,
                engine_threads,
                batch_size=min(1000, pairs // 10),
                gpus=gpus,
                settings=settings,
            )
            speeds.setdefault("Tandem, parquet to parquet", []).append(speed)
            if ray_data_llm and not gpu:
                speed = run_ray_data_llm(checkpoint, prompts, folder / f"llm-{turn}", threads)
                speeds.setdefault("ray.data.llm, parquet to parquet", []).append(speed)
        print_speeds(speeds)
        answers = pq.read_table(output / "annotations.parquet").to_pandas()
        cached = answers["cached_tokens"].sum() / answers["prompt_tokens"].sum()
        print(f"Tandem found {cached:.0%} of the prompts' tokens in the prefix cache")
        if gpu:
            tokens = int(statistics.mean(len(prompt.token_ids) for prompt in prompts))
            read = (1 - cached) * prompt_operations(checkpoint, tokens)
            tflops = statistics.median(speeds["Tandem, parquet to parquet"]) * read / 1e12
            peak = peak_tflops("bf16")
            share = f", {tflops / peak:.1%} of the peak" if peak else ""
            print(f"Tandem's engine computes {tflops:.1f} TFLOP/s{share}")
            return
        small = make_collection(folder / "small", strategy_pairs)
        print_strategies(small, folder, checkpoint, engine_threads, strategy_pairs // 6)


def make_collection(folder: Path, pairs: int) -> Path:
    """A simulated world with about so many candidate pairs."""
    queries = -(-pairs // DOCUMENTS_PER_QUERY)
    world = SimulatedWorld(queries=queries, documents=max(2 * queries, 100), sessions=queries)
    prepare(folder, world, seed=7)
    return folder


def encode_all(checkpoint: Path, collection: Path) -> list[EncodedPrompt]:
    """The prompts that the job will send, in its order."""
    tables = read_collection(collection)
    pairs = pairs_to_annotate(tables, collection)
    queries = tables.queries["text"].take(pairs["query_row"]).to_pylist()
    documents = tables.documents.take(pairs["doc_row"]).select(["title", "body"]).to_pylist()
    encoder = PromptEncoder(AutoTokenizer.from_pretrained(checkpoint), load_prompt())
    asked = [
        (query, [Document(document["title"], document["body"])])
        for query, document in zip(queries, documents, strict=True)
    ]
    return encoder.encode(asked, MAX_MODEL_LEN - 1)


def run_tandem(
    collection: Path,
    output: Path,
    checkpoint: Path,
    threads: int,
    strategy: StrategyName = "pointwise",
    batch_size: int = 1000,
    gpus: int = 0,
    settings: dict[str, Any] | None = None,
) -> float:
    """Pairs a second of the job `annotate`, from the first part's file to the last one's."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotate(
            collection,
            output,
            model=str(checkpoint),
            strategy=strategy,
            engine=VllmPool(cpus_per_engine=threads, gpus_per_engine=gpus, settings=settings or {}),
            max_model_len=MAX_MODEL_LEN,
            documents_per_prompt=4,
            batch_size=batch_size,
            max_failed=1.0,  # the judge was taught one strategy, and fails at others
        )
    return steady_speed(output / "annotations.parquet")


def steady_speed(folder: Path) -> float:
    """Rows a second from the first part's file to the last one's."""
    parts = sorted(folder.glob("*.parquet"), key=lambda path: path.stat().st_mtime)
    rows = sum(pq.read_metadata(path).num_rows for path in parts[1:])
    return rows / (parts[-1].stat().st_mtime - parts[0].stat().st_mtime)


def run_ray_data_llm(
    checkpoint: Path, prompts: list[EncodedPrompt], folder: Path, threads: int
) -> float:
    """Pairs a second of ray.data.llm on token ids, once its engine is up."""
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    encoder = PromptEncoder(AutoTokenizer.from_pretrained(checkpoint), load_prompt())
    choices = encoder.choice_tokens(CHOICES.choices)
    source = folder / "prompts.parquet"
    folder.mkdir()
    rows = {"row": range(len(prompts)), "tokens": [prompt.token_ids for prompt in prompts]}
    pq.write_table(pa.table({name: list(column) for name, column in rows.items()}), source)
    config = vLLMEngineProcessorConfig(
        model_source=str(checkpoint),
        engine_kwargs={
            "max_model_len": MAX_MODEL_LEN,
            "enforce_eager": True,
            "distributed_executor_backend": "mp",
            "enable_prefix_caching": True,
            "block_size": 32,
            "dtype": compute_dtype(gpus=0),
        },
        runtime_env={"env_vars": {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}},
        placement_group_config={"bundles": [{"CPU": threads}]},
        concurrency=1,
        batch_size=1000,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
    )
    processor = build_processor(
        config,
        preprocess=lambda row: {
            "row": row["row"],
            "tokenized_prompt": row["tokens"],
            "sampling_params": {"max_tokens": 1, "temperature": 0, "logprob_token_ids": choices},
        },
        postprocess=lambda row: {
            "row": row["row"],
            "text": row["generated_text"],
            "ended": time.time(),
            "started": time.time() - row["time_taken_llm"],
        },
        preprocess_map_kwargs={"num_cpus": 0.1},
        postprocess_map_kwargs={"num_cpus": 0.1},
    )
    blocks = max(len(prompts) // 1000, 4)
    asked = ray.data.read_parquet(str(source), override_num_blocks=blocks)
    processor(asked).write_parquet(str(folder / "answers"))
    answers = pq.read_table(folder / "answers").to_pandas()
    return len(answers) / (answers["ended"].max() - answers["started"].min())


def print_speeds(speeds: dict[str, list[float]]) -> None:
    """Prints medians and ratios to plain vLLM."""
    medians = {name: statistics.median(runs) for name, runs in speeds.items()}
    table = Table("contestant", "pairs/s", "of vLLM from texts", "of vLLM from token ids", "runs")
    for name, median in medians.items():
        ratios = [
            f"{median / medians[f'vLLM, from {peer}']:.2f}" for peer in ("texts", "token ids")
        ]
        runs = " ".join(f"{speed:,.0f}" for speed in speeds[name])
        table.add_row(name, f"{median:,.0f}", *ratios, runs)
    Console().print(table)


def print_strategies(
    collection: Path, folder: Path, checkpoint: Path, threads: int, batch_size: int
) -> None:
    """Prints what a thousand pairs cost by each strategy."""
    title = "a thousand pairs, by strategy (four documents a prompt)"
    table = Table("strategy", "seconds", "tokens read", "from the cache", "written", title=title)
    for strategy in STRATEGIES:
        output = folder / strategy
        try:
            speed = run_tandem(collection, output, checkpoint, threads, strategy, batch_size)
        except InputError as error:  # the judge was not taught it, and answered no pair
            print(error)
            continue
        frame = pq.read_table(output / "annotations.parquet").to_pandas()
        read, cached, written = (
            1000 * frame[name].mean()
            for name in ("prompt_tokens", "cached_tokens", "answer_tokens")
        )
        cells = [f"{1000 / speed:.1f}", f"{read:,.0f}", f"{cached / read:.0%}", f"{written:,.0f}"]
        table.add_row(strategy, *cells)
    Console().print(table)


if __name__ == "__main__":
    auto_cli(main)
