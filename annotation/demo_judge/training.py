"""How the demo's judge is trained: on pairs of simulated worlds with their topical grades."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from sklearn.metrics import accuracy_score, cohen_kappa_score
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from annotation.asking.ask import CHOICES
from annotation.demo_judge.model import (
    CONTEXT_LENGTH,
    logits_after_shared,
    new_model,
    pad,
    train_tokenizer,
)
from annotation.prompts.prompt import FENCE_LENGTH, FENCE_LETTERS, Document, load_prompt
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder
from corpus.simulation.world import simulate_world

FENCE = re.compile(rf"\[[{FENCE_LETTERS}]{{{FENCE_LENGTH}}}\]")
IGNORED = -100  # the target that cross_entropy leaves out


@dataclass(frozen=True)
class JudgeTraining:
    """The recipe of a judge.

    Attributes:
        seed: seed of the first world to learn from; further worlds have the next seeds.
        worlds: the number of worlds to learn from.
        unseen_seed: seed of the world that measures accuracy; it was not used to choose this
            recipe.
        queries: queries of each world to learn from, each with all its candidates.
        documents: documents of each world.
        steps: optimizer steps.
        batch_size: pairs in a step.
        learning_rate: the highest learning rate of the schedule.
    """

    seed: int = 91_000
    worlds: int = 3
    unseen_seed: int = 95_000
    queries: int = 600
    documents: int = 900
    steps: int = 2200
    batch_size: int = 32
    learning_rate: float = 2e-3


@dataclass(frozen=True)
class JudgeReport:
    """How well a judge grades the pairs of a world that it has not learned from.

    Attributes:
        pairs: the number of pairs.
        accuracy: share of pairs whose grade is the topical grade, in [0, 1].
        majority: accuracy of always answering the most frequent grade, in [0, 1].
        quadratic_kappa: Cohen's kappa with quadratic weights, at most 1.
        seconds: duration of the training.
    """

    pairs: int
    accuracy: float
    majority: float
    quadratic_kappa: float
    seconds: float


@dataclass(frozen=True)
class GradedPairs:
    """Query-document pairs with their grades; all four have one entry for each pair.

    Attributes:
        queries: text of the query.
        titles: title of the document.
        bodies: body of the document.
        grades: topical grade, 0 to 3, int64, shape (pairs,).
    """

    queries: list[str]
    titles: list[str]
    bodies: list[str]
    grades: NDArray[np.int64]


def train_judge(folder: Path, training: JudgeTraining) -> JudgeReport:
    """Trains a judge and saves it.

    Args:
        folder: where to write the checkpoint and the tokenizer.
        training: the recipe.

    Returns:
        How well it grades a world that it has not learned from.
    """
    started = time.time()
    torch.set_num_threads(os.cpu_count() or 1)  # Ray leaves a driver one thread
    torch.manual_seed(training.seed)
    seeds = range(training.seed, training.seed + training.worlds)
    worlds = [graded_pairs(seed, training.queries, training.documents) for seed in seeds]
    unseen = graded_pairs(training.unseen_seed, 200, training.documents)
    learned = GradedPairs(
        queries=[query for world in worlds for query in world.queries],
        titles=[title for world in worlds for title in world.titles],
        bodies=[body for world in worlds for body in world.bodies],
        grades=np.concatenate([world.grades for world in worlds]),
    )
    tokenizer = train_tokenizer([*learned.queries, *learned.titles, *learned.bodies])
    encoder = PromptEncoder(tokenizer, load_prompt())
    model = new_model(tokenizer, sorted({*learned.queries, *learned.bodies}))
    _fit(model, tokenizer, encoder, learned, training)
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return _report(folder, unseen, seconds=time.time() - started)


def graded_pairs(seed: int, queries: int, documents: int) -> GradedPairs:
    """The candidates of a simulated world with their topical grades.

    Args:
        seed: seed of the world.
        queries: the number of its queries.
        documents: the number of its documents.
    """
    world = simulate_world(seed, queries=queries, documents=documents, sessions=queries)
    tables, pairs = world.collection, world.topical_grades
    query_row = pc.index_in(pairs["query_id"], value_set=tables.queries["query_id"])
    doc_row = pc.index_in(pairs["doc_id"], value_set=tables.documents["doc_id"])
    return GradedPairs(
        queries=tables.queries["text"].take(query_row).to_pylist(),
        titles=tables.documents["title"].take(doc_row).to_pylist(),
        bodies=tables.documents["body"].take(doc_row).to_pylist(),
        grades=pairs["grade"].to_numpy(),
    )


def _fit(
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    encoder: PromptEncoder,
    pairs: GradedPairs,
    training: JudgeTraining,
) -> None:
    """Trains the model on the answers and, so that it learns the words, on the texts.

    The loss is the cross-entropy of the answer plus the mean cross-entropy of the tokens of query
    and document. Fences are left out of it: they are random, and would dominate the loss.
    """
    encoded = _encode(encoder, pairs)
    prompts = [prompt.token_ids for prompt in encoded]
    fenced = _fence_tokens(tokenizer, [prompt.message for prompt in encoded])
    answers = torch.tensor(encoder.choice_tokens(CHOICES.choices))[torch.from_numpy(pairs.grades)]
    # The prefix that the first and the last in lexicographic order share is shared by all.
    shared = next(
        i for i, (a, b) in enumerate(zip(min(prompts), max(prompts), strict=False)) if a != b
    )
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, training.steps, pct_start=0.1
    )
    rng = np.random.default_rng(training.seed)
    model.train()
    with Progress() as progress:
        for _ in progress.track(range(training.steps), description="training the judge"):
            rows = rng.choice(len(prompts), training.batch_size, replace=False)
            tokens, last = pad([prompts[row] for row in rows])
            logits = logits_after_shared(model, tokens, shared)
            following = tokens[:, shared + 1 :].clone()
            following[torch.arange(shared + 1, tokens.shape[1]) > last[:, None]] = IGNORED
            in_fence = torch.nn.utils.rnn.pad_sequence([fenced[row] for row in rows], True)
            following[in_fence[:, shared + 1 :]] = IGNORED
            text_loss = cross_entropy(
                logits[:, :-1].flatten(0, 1), following.flatten(), ignore_index=IGNORED
            )
            answer_logits = logits[torch.arange(len(rows)), last - shared]
            loss = text_loss + cross_entropy(answer_logits, answers[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def _encode(encoder: PromptEncoder, pairs: GradedPairs) -> list[EncodedPrompt]:
    documents = [[Document(*texts)] for texts in zip(pairs.titles, pairs.bodies, strict=True)]
    asked = list(zip(pairs.queries, documents, strict=True))
    return encoder.encode(asked, longest=CONTEXT_LENGTH - 1)


def _fence_tokens(tokenizer: Qwen2Tokenizer, messages: list[str]) -> list[torch.Tensor]:
    """Whether each token of each message belongs to a fence; bool, shape (tokens,)."""
    fenced = []
    offsets = tokenizer(messages, return_offsets_mapping=True)["offset_mapping"]
    for message, spans in zip(messages, offsets, strict=True):
        inside = np.zeros(len(message) + 1, dtype=bool)
        for fence in FENCE.finditer(message):
            inside[fence.start() : fence.end()] = True
        fenced.append(torch.from_numpy(inside[[start for start, _ in spans]]))
    return fenced


def _report(folder: Path, unseen: GradedPairs, seconds: float) -> JudgeReport:
    """Measures the judge as it is saved, and as others load it."""
    encoder = PromptEncoder(AutoTokenizer.from_pretrained(folder), load_prompt())
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompts = [prompt.token_ids for prompt in _encode(encoder, unseen)]
    choices = encoder.choice_tokens(CHOICES.choices)
    model.train(False)
    graded = []
    with torch.no_grad():
        for start in range(0, len(prompts), 100):
            tokens, last = pad(prompts[start : start + 100])
            logits = logits_after_shared(model, tokens, shared=1)  # type: ignore[arg-type]
            answers = logits[torch.arange(len(tokens)), last - 1][:, choices]
            graded.append(answers.argmax(dim=1))
    grades = torch.cat(graded).numpy()
    return JudgeReport(
        pairs=len(grades),
        accuracy=float(accuracy_score(unseen.grades, grades)),
        majority=float(np.bincount(unseen.grades).max() / len(grades)),
        quadratic_kappa=float(cohen_kappa_score(unseen.grades, grades, weights="quadratic")),
        seconds=seconds,
    )
