"""Steps of training in this process, without Ray."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForSequenceClassification,
    XLNetConfig,
    XLNetForSequenceClassification,
)

from rankers.data.lists import add_labels
from rankers.data.padding import BatchReader
from rankers.data.pair_texts import number_texts
from rankers.data.sampler import Share, covered_steps, epoch_order, read_steps
from rankers.data.store import ListFile, write_lists
from rankers.data.tokenization import tokenize_once
from rankers.losses.hybrid import Objective, signal_shares
from rankers.mixes import Constant, Mix, Stage, Staged
from rankers.models.cross_encoder import score_in_float32
from rankers.models.list_ranker import ListRanker, computing_in
from rankers.settings import TrainingSettings
from rankers.training.checkpoints import TRAINING_STATE, read_states
from rankers.training.learner import (
    Learner,
    TrainingInput,
    WorkerTask,
    build_learner,
    leaves_parameters_out,
)
from rankers.training.log import SUMS, means
from rankers.training.loop import train_epoch, train_ranker
from rankers.training.stops import Stop, read_refused, record_refused
from rankers.training.workers import OneProcess
from tests.conftest import with_settings

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"abcdefghij"]
TINY = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}


def save_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Whose words are single letters, and whose pairs end with [SEP], as T5's end with </s>."""
    tokenizer = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="[SEP]"
    )
    fast.model_max_length = 16
    fast.save_pretrained(folder)
    return fast


def bert() -> PreTrainedModel:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(WORDS), num_hidden_layers=1, **TINY)
    config.num_labels = 1
    return BertForSequenceClassification(config)


def t5() -> PreTrainedModel:
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(WORDS), d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    config.num_labels, config.decoder_start_token_id = 1, 0
    config.pad_token_id, config.eos_token_id = 0, WORDS.index("[SEP]")
    return T5ForSequenceClassification(config)


def xlnet() -> PreTrainedModel:
    config = XLNetConfig(vocab_size=len(WORDS), d_model=8, n_layer=1, n_head=2, d_inner=16)
    config.num_labels = 1
    return XLNetForSequenceClassification(config)


def task(
    folder: Path,
    model: PreTrainedModel,
    lists: int,
    first: Sequence[float] = (0.5,),
    mix: Mix = Constant(1.0),  # noqa: B008 - read only
    bucket: Sequence[int] = (0,),
    **changes: Any,
) -> WorkerTask:
    """To train a model on lists of two documents, by clicks.

    Args:
        first: click labels of the first document of the lists, over and over; that of the second is
            zero.
        bucket: of frequency, of the lists, over and over.
    """
    folder.mkdir(exist_ok=True)
    backbone = folder / "backbone"
    model.save_pretrained(backbone)
    tokenizer = save_tokenizer(backbone)
    letters = WORDS[4:]
    ids = [[f"{number}a", f"{number}b"] for number in range(lists)]
    table = pa.table(
        {
            "query_id": [str(number) for number in range(lists)],
            "text": [letters[number % 10] for number in range(lists)],
            "frequency": [1] * lists,
            "bucket": [bucket[number % len(bucket)] for number in range(lists)],
            "doc_ids": ids,
        }
    )
    clicks = pa.table(
        {
            "query_id": [str(number) for number in range(lists) for _ in range(2)],
            "doc_id": [doc_id for listed in ids for doc_id in listed],
            "relevance": [
                label for number in range(lists) for label in (first[number % len(first)], 0.0)
            ],
            "impressions": [1] * (2 * lists),
        }
    )
    documents = pa.table(
        {
            "doc_id": [doc_id for listed in ids for doc_id in listed],
            "title": [""] * (2 * lists),
            "body": [
                text for number in range(lists) for text in (f"{letters[number % 10]} a", "b c")
            ],
        }
    )
    [numbered], texts = number_texts([add_labels(table, clicks, None, "grade")], documents)
    tokens = tokenize_once(texts, tokenizer, 16, folder / "tokens", "tests")
    path = folder / "lists.arrow"
    write_lists([numbered], path)
    given = {"backbone": str(backbone), "max_length": 16, "workers": 1, "warm_up": 0.0}
    settings = with_settings(TrainingSettings(), **(given | changes))
    gains = clicks.select(["query_id", "doc_id"]).append_column("gain", clicks["relevance"])
    objective = partial(Objective, loss=settings.objective.loss, highest_grade=3)
    read = TrainingInput(str(backbone), path, path, tokens, 0, gains, objective)
    return WorkerTask(folder, settings, objective(mix), read, live=False)


def trained(task: WorkerTask) -> tuple[Learner, Stop | None]:
    """The learner after an epoch."""
    lists, worker = reader_of(task), OneProcess()
    order = epoch_order(len(lists.lists), task.settings.batching.lists_per_step, 0, 0)
    learner = build_learner(task, worker, len(order), lists)
    return learner, train_epoch(learner, task, worker, lists, order, [])


def reader_of(task: WorkerTask) -> BatchReader:
    return task.input.reader(task.input.training, task.settings.batching)


def test_a_part_without_lists_is_no_pass_of_the_model(tmp_path: Path) -> None:
    """Nine lists make steps of five and four, in eight parts; T5 wants an end of each text."""
    learner, stop = trained(task(tmp_path, t5(), 9, lists_per_step=8, accumulation=8))
    assert stop is None
    assert learner.steps == 2


def test_a_worker_without_lists_runs_the_model_on_those_of_another(tmp_path: Path) -> None:
    """The last part of each worker is read, since that is where they sum their gradients."""
    lists = reader_of(task(tmp_path, t5(), 3, tokens_per_micro_batch=16))
    shares = [
        next(read_steps(lists, [np.array([2, 0, 1])], Share(rank, 4, 2))) for rank in range(4)
    ]
    assert [[len(batch) for batch in batches] for batches in shares] == [[0, 1]] * 3 + [[0, 0]]
    micro_batches = [[len(batch.micro_batches.inputs) for batch in part] for part in shares]
    assert micro_batches == [[0, 1]] * 4
    batch = shares[3][1]
    scores = ListRanker(t5())(batch)
    assert scores.shape == (0, 0, 1)
    objective = Objective(Constant(1.0), "softmax", highest_grade=3)
    loss = objective(scores, batch, 0.0).loss
    assert loss.item() == 0
    loss.backward()  # reaches all parameters, which DDP waits for


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_are_trained_in_float32_whatever_they_were_saved_in(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    """A step of 1e-4 is less than half of the last of eight bits of most weights."""
    saved: Any = bert()
    saved.to(dtype)
    given = task(tmp_path, saved, 4, learning_rate=1e-4, warm_up=0.25, weight_decay=0.0)
    learner, _ = trained(given)
    assert learner.steps == 1
    before = dict(saved.named_parameters())
    for name, after in learner.ranker.model.named_parameters():
        assert after.dtype == torch.float32, name
        moved = (after - before[name].float()).abs()[after.grad.abs() > 1e-4]
        assert (moved > 1e-5).all(), name
    learner.ranker.model.save_pretrained(tmp_path / "ranker")
    weights = load_file(tmp_path / "ranker" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_scores_in_mixed_precision_have_more_than_eight_bits() -> None:
    """5 and 5.0001 are one number in bfloat16."""
    head: Any = score_in_float32(bert())
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[5.0, 1e-4, *[0.0] * 6]]))
        head.bias.zero_()
    states = torch.tensor([[1.0, 0.0, *[0.0] * 6], [1.0, 1.0, *[0.0] * 6]], dtype=torch.bfloat16)
    with computing_in("bf16", torch.device("cpu")):
        worse, better = head(states)[:, 0].tolist()
        assert torch.nn.Linear(8, 8)(states).dtype == torch.bfloat16, "as the encoder computes"
    assert better - worse == pytest.approx(1e-4, rel=0.01)


@pytest.mark.parametrize(("make", "left_out"), [(bert, False), (t5, False), (xlnet, True)])
def test_parameters_that_no_score_depends_on_are_found(
    make: Callable[[], Any], left_out: bool
) -> None:
    """XLNet's embedding of a masked token: DDP would wait for its gradient."""
    model = make()
    assert leaves_parameters_out(model, {"input_ids": torch.tensor([[5, 2, 6, 2]])}) == left_out
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_step_that_nothing_teaches_moves_nothing(tmp_path: Path) -> None:
    """Not by decay, nor by moments of the steps before."""
    learner, _ = trained(task(tmp_path, bert(), 4, first=[0.0], weight_decay=0.5, loss="softmax"))
    assert learner.steps == 1
    for name, parameter in bert().named_parameters():
        assert torch.equal(learner.ranker.model.get_parameter(name), parameter), name
    assert "loss" not in means(learner.log.state_dict()["sums"])


def test_a_refused_step_is_left_out_when_training_goes_on(tmp_path: Path) -> None:
    model: Any = bert()
    with torch.no_grad():  # a letter that the last list alone has
        model.bert.embeddings.word_embeddings.weight[WORDS.index("d")] = torch.nan
    given = task(tmp_path, model, 4, lists_per_step=1)
    step = [rows.item() for rows in epoch_order(4, 1, 0, 0)].index(3) + 1
    _, stop = trained(given)
    assert stop is not None
    assert stop.step == step
    assert (tmp_path / f"nonfinite_batch_{step}_0.parquet").exists()
    record_refused(tmp_path, [stop])
    assert read_refused(tmp_path) == [stop]
    learner, stop = trained(replace(given, refused=frozenset({step})))
    assert stop is None
    assert learner.steps == 4


def test_scores_that_are_not_finite_stop_training_before_they_are_ranked_by(
    tmp_path: Path,
) -> None:
    """The last step of an epoch is finite, what it makes of the weights is not."""
    given = task(tmp_path, bert(), 4, epochs=1, learning_rate=1e38, gradient_clip=1e38)
    stop = train_ranker(given, OneProcess())
    assert stop.step == 1
    assert "scores are not finite" in stop.reason


def test_what_training_lost_and_learned_is_logged_by_what_taught_it(tmp_path: Path) -> None:
    """Of ten lists three are clicked; their losses are about ln 2 where nothing is learned yet."""
    given = task(
        tmp_path, bert(), 10, first=[0.5] * 3 + [0.0] * 7, lists_per_step=5, learning_rate=1e-9
    )
    learner, _ = trained(given)
    logged = means(learner.log.state_dict()["sums"])
    assert logged["loss"] == pytest.approx(logged["click_loss"])
    assert logged["click_loss"] == pytest.approx(np.log(2), abs=0.1)
    assert logged["click_weight"] == 1
    assert "annotation_loss" not in logged


HIGH_ALONE = Staged([Stage(1.0, 1.0, ["high"])])


def test_lists_that_a_stage_is_not_for_are_not_scored(tmp_path: Path) -> None:
    """Two of three; the others' gradient is that of a mean over what is left."""
    given = task(tmp_path, bert(), 6, mix=HIGH_ALONE, bucket=[0, 2, 2], lists_per_step=6)
    learner, _ = trained(given)
    sums = dict(zip(SUMS, learner.log.state_dict()["sums"].tolist(), strict=True))
    assert (sums["lists"], sums["pairs"]) == (2, 4)
    assert sums["loss"] > 0
    whole = task(tmp_path / "whole", bert(), 6, mix=HIGH_ALONE, bucket=[0, 2, 2])
    batch = reader_of(whole).read(np.arange(6))
    scores = torch.randn(6, 2, 1, generator=torch.Generator().manual_seed(0), requires_grad=True)
    shares = signal_shares(whole.objective.weights(batch, 0.0))
    whole.objective(scores, batch, 0.0, shares).loss.backward()
    assert scores.grad is not None
    assert scores.grad.flatten(1).any(1).tolist() == [True, False, False] * 2


def test_a_step_that_a_stage_leaves_no_list_is_no_step(tmp_path: Path) -> None:
    """Not by decay, nor by moments of the steps before; but time passes."""
    given = task(
        tmp_path, bert(), 6, mix=HIGH_ALONE, bucket=[2], lists_per_step=2, weight_decay=0.5
    )
    learner, stop = trained(given)
    assert (learner.steps, stop) == (3, None)
    for name, parameter in bert().named_parameters():
        assert torch.equal(learner.ranker.model.get_parameter(name), parameter), name
    assert "loss" not in means(learner.log.state_dict()["sums"])


def test_stages_begin_and_end_by_the_step() -> None:
    """Of four steps, two for all and two for frequent queries."""
    mix = Staged([Stage(0.5, 0.0), Stage(0.5, 1.0, ["high"])])
    lists = Lists(pa.table({"frequency": [9, 1, 9, 1], "bucket": [0, 2, 0, 2]}))
    order = [np.array([0, 1]), np.array([2, 3])]
    steps = [*covered_steps(lists, order, mix, 0, 4), *covered_steps(lists, order, mix, 2, 4)]
    assert [rows.tolist() for rows in steps] == [[0, 1], [2, 3], [0], [2]]


class Lists(ListFile):
    """Columns without a file."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def columns(self, names: list[str]) -> pa.Table:
        return self.table


class Interrupted(OneProcess):
    """Is killed when it has reported so often."""

    def __init__(self, folder: Path, reports: int) -> None:
        super().__init__(folder)
        self.left = reports

    def report(self, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        super().report(metrics, checkpoint)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("reports", [1, 2, 3, 4])
def test_one_process_goes_on_from_its_checkpoint_as_if_undisturbed(
    tmp_path: Path, reports: int
) -> None:
    """Within an epoch and after it; with dropout, a schedule and moments to take up."""
    given = task(tmp_path, bert(), 8, lists_per_step=2, epochs=2, every_steps=2)
    undisturbed = tmp_path / "undisturbed"
    assert train_ranker(given, OneProcess(undisturbed)) is None
    place = tmp_path / "place"
    with pytest.raises(KeyboardInterrupt):
        train_ranker(given, Interrupted(place, reports))
    assert train_ranker(given, OneProcess(place)) is None
    states = [
        read_states((folder / TRAINING_STATE).read_bytes()) for folder in (undisturbed, place)
    ]
    for name, value in states[0]["ranker"].items():
        assert torch.equal(states[1]["ranker"][name], value), name
    assert states[0]["schedule"] == states[1]["schedule"]
