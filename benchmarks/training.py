"""How fast rankers train, beside sentence-transformers' trainer and beside two data streams.

    pip install datasets accelerate
    python -m benchmarks.training --backbone sentence-transformers/all-MiniLM-L6-v2
    python -m benchmarks.training --backbone BAAI/bge-reranker-base --gpu true

Every contestant starts from the same weights and learns from the same lists in the same order, with
the same loss, optimizer, batch, dropout and precision; they take turns at every step, so that what
else the machine does slows all alike. `CrossEncoderTrainer` has `ListNetLoss` as its documentation
has it. Tandem does what a worker of the job `train` does; tokenizing is counted as if training were
one epoch. For both signals at once, one forward pass with both losses takes part, and a batch of
each signal's data stream a step, in the same micro-batches. Losses of the first step, without
dropout, and the tokens read in all must be the same.

Texts are Cranfield's, and of its words, with lengths that spread as web pages' do.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_peak import missing_gpu, peak_tflops
from benchmarks.training_contestants import Contestant, Speed, Work, now, train_peer
from benchmarks.training_lists import DOCUMENTS, cranfield_lists, documents_of, spread_texts
from rankers.data.pair_texts import number_texts
from rankers.data.store import write_lists
from rankers.data.tokenization import tokenize_once
from rankers.losses.hybrid import Objective
from rankers.mixes import Constant
from rankers.models.cross_encoder import load_cross_encoder
from rankers.settings import (
    BatchingSettings,
    ModelSettings,
    OptimizationSettings,
    ResourceSettings,
    TrainingSettings,
)

DATA = Path(os.environ.get("TANDEM_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
PEER = "CrossEncoderTrainer"
ONE_PASS, STREAMS = "two signals, one pass", "two signals, two streams"
# Steps, the first ones, that are not timed.
WARM_UP = 1
BOTH, CLICKS, ANNOTATIONS = (
    Objective(Constant(click_weight), "softmax", highest_grade=3) for click_weight in (0.5, 1, 0)
)


def compare(
    work: Work, tokens_per_micro_batch: list[int], mini_batch_size: int, streams: bool, folder: Path
) -> dict[str, Speed]:
    """How fast each contestant is; fails where they do not do the same."""
    contestants = {}
    for size in tokens_per_micro_batch:
        batching = replace(work.settings.batching, tokens_per_micro_batch=size)
        settings = replace(work.settings, batching=batching)
        contestants[f"Tandem, micro-batches of {size}"] = Contestant(
            replace(work, settings=settings), CLICKS
        )
    if streams:
        contestants[ONE_PASS] = Contestant(work, BOTH)
        contestants[STREAMS] = Contestant(work, CLICKS, ANNOTATIONS)
    peer, first_loss = train_peer(work, mini_batch_size, list(contestants.values()), folder)
    print(f"{first_loss:.6f} is the first loss of {PEER}")
    for name, contestant in contestants.items():
        print(f"{contestant.first_loss:.6f} is the first loss of {name}")
        same, within = first_loss, 1e-4
        if name in (ONE_PASS, STREAMS):
            same, within = contestants[STREAMS].first_loss, 1e-5
        if work.settings.model.precision == "fp32":
            assert abs(contestant.first_loss - same) < within
        tokens = peer.tokens * len(contestant.objectives)
        assert contestant.speed.tokens == tokens, f"{name}: {contestant.speed.tokens}, not {tokens}"
    return {PEER: peer} | {name: contestant.speed for name, contestant in contestants.items()}


def print_speeds(title: str, speeds: dict[str, Speed], pairs: int, peak: float | None) -> None:
    """Prints pairs a second, and how many times the base's speed that is, step by step.

    Where others use the machine, CPU time tells more than the clock. Of a device's peak (TFLOP/s)
    it tells the share that counted operations take, padding included.
    """
    table = Table(title=title)
    for heading in ("", "pairs/s", "best", "times", "CPU ms a pair", "times", "padding"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    if peak is not None:
        table.add_column("of the peak", justify="right")
    for name, speed in speeds.items():
        base = speeds[STREAMS if name == ONE_PASS else PEER]
        (seconds, cpu), (base_seconds, base_cpu) = (
            np.array([one.seconds, one.cpu_seconds])[:, WARM_UP:] for one in (speed, base)
        )
        median = np.median(seconds)
        cells = [f"{pairs / median:.1f}", f"{pairs / seconds.min():.1f}"]
        cells += [f"{np.median(base_seconds / seconds):.2f}", f"{1e3 * cpu.mean() / pairs:.0f}"]
        cells += [f"{base_cpu.sum() / cpu.sum():.2f}"]
        cells += [f"{1 - speed.tokens / speed.padded_tokens:.0%}"]
        if peak is not None:
            counted = speed.operations_per_token
            of_step = (counted or 0) * speed.padded_tokens / len(speed.seconds)
            cells.append(f"{of_step / median / peak / 1e12:.1%}" if counted else "–")
        table.add_row(name, *cells)
    Console(width=120).print(table)


def main(
    backbone: str,
    cranfield: Path = DATA / "cranfield",
    texts: list[Literal["cranfield", "spread"]] = ["cranfield", "spread"],  # noqa: B006
    precisions: list[Literal["fp32", "tf32", "bf16"]] = ["fp32", "bf16"],  # noqa: B006
    tokens_per_micro_batch: list[int] | None = None,
    streams: bool = True,
    steps: int = 10,
    lists_per_step: int = 4,
    mini_batch_size: int = 16,
    max_length: int = 512,
    threads: int = 2,
    gpu: bool = False,
) -> None:
    """Prints how fast each contestant learns, for each kind of text and precision.

    Args:
        backbone: a Hugging Face id or a folder; it gets a fresh scoring head.
        cranfield: a BEIR folder.
        texts: to learn from.
        precisions: to compute in.
        tokens_per_micro_batch: of Tandem; each is a contestant, the first goes for two signals. By
            default what training takes on the device.
        streams: whether one pass for two signals, and two streams, are contestants too.
        steps: how many are timed, after one that is not.
        lists_per_step: lists of eight documents.
        mini_batch_size: pairs that the peer's model reads at once; its own example has 16.
        max_length: tokens of a pair; longer ones are cut.
        threads: of the CPU.
        gpu: only where there is a GPU, with the share of its peak that is used.
    """
    if gpu and (reason := missing_gpu()):
        print(reason)
        return
    sizes = tokens_per_micro_batch or [BatchingSettings().tokens_at_once(on_gpu=gpu)]
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        torch.manual_seed(0)
        model, tokenizer = load_cross_encoder(backbone, max_length, new_head=True)
        model.save_pretrained(folder / "start")
        tokenizer.save_pretrained(folder / "start")
        lists = cranfield_lists(cranfield, (WARM_UP + steps) * lists_per_step)
        for name in texts:
            given = lists if name == "cranfield" else spread_texts(lists, tokenizer)
            path = folder / f"{name}.arrow"
            started, _ = now()
            [numbered], pairs_of = number_texts([given], documents_of(given))
            tokens = tokenize_once(pairs_of, tokenizer, max_length, folder / "tokens", name)
            write_lists([numbered], path)
            tokenizing = (now()[0] - started) / (WARM_UP + steps)
            for precision in precisions:
                settings = TrainingSettings(
                    model=ModelSettings(precision=precision, max_length=max_length),
                    optimization=OptimizationSettings(learning_rate=2e-5),
                    batching=BatchingSettings(
                        lists_per_step=lists_per_step,
                        tokens_per_micro_batch=sizes[0],
                    ),
                    resources=ResourceSettings(workers=1),
                )
                work = Work(given, path, tokens, folder / "start", settings, tokenizing)
                speeds = compare(work, sizes, mini_batch_size, streams, folder / "peer")
                pairs = lists_per_step * DOCUMENTS
                print_speeds(f"{name}, {precision}", speeds, pairs, peak_tflops(precision))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
