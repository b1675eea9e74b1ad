"""Steps of training in this process, as in Ray Train's local mode: no cluster, one worker."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
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

from rankers.data.lists import add_labels, tokenize_lists
from rankers.data.sampler import epoch_order, read_steps
from rankers.data.store import ListFile, write_lists
from rankers.losses.hybrid import Objective
from rankers.mixes.mixes import Constant
from rankers.models.cross_encoder import score_in_float32
from rankers.models.list_ranker import ListRanker, computing_in
from rankers.settings import TrainingSettings
from rankers.training.learner import (
    Learner,
    TrainingInput,
    WorkerTask,
    build_learner,
    leaves_parameters_out,
)
from rankers.training.log import means
from rankers.training.loop import _train_epoch, train_worker
from rankers.training.stops import Stop, read_refused, record_refused

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"abcdefghij"]
TINY = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}


def in_worker(work: Callable[[], Any]) -> Any:
    """What a function returns that runs as a training worker."""
    return TorchTrainer(work, scaling_config=ScalingConfig(num_workers=0)).fit().return_value


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
    **changes: Any,
) -> WorkerTask:
    """To train a model on lists of two documents, by clicks.

    Args:
        first: click labels of the first document of the lists, over and over; that of the second is
            zero.
    """
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
            "bucket": [0] * lists,
            "doc_ids": ids,
            "documents": [[f"{letters[number % 10]} a", "b c"] for number in range(lists)],
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
    labelled = tokenize_lists(add_labels(table, clicks, None, "grade"), tokenizer, 16)
    path = folder / "lists.arrow"
    write_lists([labelled], path)
    settings = TrainingSettings(backbone=str(backbone), max_length=16, workers=1, warm_up=0.0)
    gains = clicks.select(["query_id", "doc_id"]).append_column("gain", clicks["relevance"])
    read = TrainingInput(str(backbone), path, path, gains, highest_grade=3)
    return WorkerTask(folder, replace(settings, **changes), Constant(1.0), read, live=False)


def trained(task: WorkerTask) -> tuple[Learner, Stop | None]:
    """The learner after an epoch."""

    def work() -> tuple[Learner, Stop | None]:
        lists = ListFile(task.input.training)
        order = epoch_order(len(lists), task.settings.lists_per_step, 0, 0)
        learner = build_learner(task, len(order), lists)
        return learner, _train_epoch(learner, task, lists, order, [])

    result: tuple[Learner, Stop | None] = in_worker(work)
    return result


def test_a_part_without_lists_is_no_pass_of_the_model(tmp_path: Path) -> None:
    """Nine lists make steps of five and four, in eight parts; T5 wants an end of each text."""
    learner, stop = trained(task(tmp_path, t5(), 9, lists_per_step=8, accumulation=8))
    assert stop is None
    assert learner.schedule.last_epoch == 2


def test_a_worker_without_lists_runs_the_model_on_those_of_another(tmp_path: Path) -> None:
    """The last part of each worker is read, since that is where they sum their gradients."""
    lists = ListFile(task(tmp_path, t5(), 3).input.training)
    shares = [
        next(read_steps(lists, [np.array([2, 0, 1])], rank, 4, 2, 0, tokens_per_pass=16))
        for rank in range(4)
    ]
    assert [[table.num_rows for table, _ in parts] for parts in shares] == [[0, 1]] * 3 + [[0, 0]]
    passes = [[len(batch.passes.inputs) for _, batch in parts] for parts in shares]
    assert passes == [[0, 1]] * 4
    table, batch = shares[3][1]
    scores = ListRanker(t5())(batch)
    assert scores.shape == (0, 0, 1)
    objective = Objective(Constant(1.0), "softmax", highest_grade=3)
    loss = objective(scores, batch.labels, table, 0.0, lambda sums: sums).loss
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
    assert learner.schedule.last_epoch == 1
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
    assert learner.schedule.last_epoch == 1
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
    assert learner.schedule.last_epoch == 4


def test_scores_that_are_not_finite_stop_training_before_they_are_ranked_by(
    tmp_path: Path,
) -> None:
    """The last step of an epoch is finite, what it makes of the weights is not."""
    given = task(tmp_path, bert(), 4, epochs=1, learning_rate=1e38, gradient_clip=1e38)
    stop = in_worker(lambda: train_worker(given))
    assert stop.step == 1
    assert "scores are not finite" in stop.reason


def test_what_training_lost_and_learned_is_logged_by_what_taught_it(tmp_path: Path) -> None:
    """Of ten lists three are clicked; their losses are about ln 2 where nothing is learned yet."""
    given = task(tmp_path, bert(), 10, first=[0.5] * 3 + [0.0] * 7, lists_per_step=5)
    learner, _ = trained(replace(given, settings=replace(given.settings, learning_rate=1e-9)))
    logged = means(learner.log.state_dict()["sums"])
    assert logged["loss"] == pytest.approx(logged["click_loss"])
    assert logged["click_loss"] == pytest.approx(np.log(2), abs=0.1)
    assert logged["click_weight"] == 1
    assert "annotation_loss" not in logged
