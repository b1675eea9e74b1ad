"""The demo's judge: a small language model of Tandem's own making, for where no other can be had.

It learns to answer the pointwise prompt with the topical grade of a pair, from simulated worlds of
other seeds than the demo's. It is a real model in a normal checkpoint, and makes real mistakes.
"""

import hashlib
import inspect
import json
import os
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.metrics import accuracy_score, cohen_kappa_score
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

import annotation.prompts.prompt
import annotation.prompts.prompt_encoder
import corpus.simulation.world
from annotation.asking.ask import CHOICES
from annotation.prompts.prompt import FENCE_LENGTH, FENCE_LETTERS, Document, load_prompt
from annotation.prompts.prompt_encoder import EncodedPrompt, PromptEncoder
from corpus.simulation.world import VOCABULARY_PATH, simulate_world

REPORT = "judge_report.json"

CONTEXT_LENGTH = 512
END_OF_TEXT = "<|endoftext|>"
FENCE = re.compile(rf"\[[{FENCE_LETTERS}]{{{FENCE_LENGTH}}}\]")
IGNORED = -100  # cross_entropy's sign for a token that is not learned


@dataclass(frozen=True)
class JudgeTraining:
    """What a judge is made from.

    Attributes:
        seed: of the first world to learn from; the next worlds have the next seeds.
        worlds: number of worlds to learn from.
        unseen_seed: of the world that tells the accuracy; it had no part in choosing this recipe.
        queries: of each world; each has the twelve candidates that a world gives it.
        documents: of each world.
        steps: of training.
        batch_size: pairs a step.
        learning_rate: at its highest.
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
    """How well a judge grades pairs of a world that it has not learned from.

    Attributes:
        pairs: number of them.
        accuracy: share of grades that are exactly the topical grade.
        majority: accuracy of always answering the most frequent grade.
        quadratic_kappa: Cohen's kappa with quadratic weights.
        seconds: that training took.
    """

    pairs: int
    accuracy: float
    majority: float
    quadratic_kappa: float
    seconds: float


@dataclass(frozen=True)
class GradedPairs:
    """Queries, titles, bodies and grades (0 to 3): four sequences of one length."""

    queries: list[str]
    titles: list[str]
    bodies: list[str]
    grades: NDArray[np.int64]


def demo_judge(training: JudgeTraining = JudgeTraining()) -> Path:
    """Finds the demo's judge in the user's cache, or makes it, in some minutes on two cores.

    Returns:
        A folder with a normal Hugging Face checkpoint (Qwen2, bfloat16), its tokenizer and
        `judge_report.json`, see `JudgeReport`.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tandem"
    folder = cache / f"judge-{_fingerprint(training)}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".judge-") as unfinished:
            train_judge(Path(unfinished) / "judge", training)
            try:
                (Path(unfinished) / "judge").rename(folder)
            except OSError:
                if not folder.exists():  # else another process was faster with the same judge
                    raise
    report = JudgeReport(**json.loads((folder / REPORT).read_text()))
    print(
        f"judge {folder}: accuracy {report.accuracy:.2f} on {report.pairs:,} unseen pairs (always "
        f"the most frequent grade: {report.majority:.2f}), "
        f"quadratic kappa {report.quadratic_kappa:.2f}"
    )
    return folder


def train_judge(folder: Path, training: JudgeTraining) -> JudgeReport:
    """Trains a judge and saves it into `folder`, its report with it."""
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
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT_LENGTH,
            tie_word_embeddings=True,
            initializer_range=0.08,  # about 1 / sqrt(hidden size); the default suits wide models
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )
    _embed_words(model, tokenizer, sorted({*learned.queries, *learned.bodies}))
    model.set_attn_implementation("eager")  # on a CPU its gradient takes half of sdpa's time
    _fit(model, tokenizer, encoder, learned, training)
    report = _report(model, encoder, unseen, seconds=time.time() - started)
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / REPORT).write_text(json.dumps(asdict(report), indent=2) + "\n")
    return report


def graded_pairs(seed: int, queries: int, documents: int) -> GradedPairs:
    """The candidates of a simulated world with their topical grades."""
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


def train_tokenizer(texts: list[str], vocabulary: int = 1024) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer, which can write any text, on `texts` and the prompt."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # The prompt stands in every text that the judge will read; each has another fence.
    prompt = load_prompt().compile()("", [Document("", "")], fence="")
    tokenizer.train_from_iterator([*texts, *[prompt] * len(texts)], trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT
    )


def _embed_words(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> None:
    """Starts the embeddings from latent semantic analysis (Deerwester et al., JASIS 1990).

    Words that share texts begin close together, so that the model need not find out first which
    words have to do with each other. Tokens that `texts` do not have stay as they are.
    """
    counter = CountVectorizer(
        analyzer=tokenizer.tokenize, vocabulary=tokenizer.get_vocab(), lowercase=False, binary=True
    )
    weighted = TfidfTransformer().fit_transform(counter.fit_transform(texts))
    embeddings = model.model.embed_tokens.weight.detach()
    analysis = TruncatedSVD(embeddings.shape[1], random_state=0).fit(weighted)
    found = torch.from_numpy(analysis.components_.T).float()
    norm = found.norm(dim=1, keepdim=True)
    scaled = found / norm * embeddings.norm(dim=1, keepdim=True)
    embeddings.copy_(torch.where(norm > 1e-6, scaled, embeddings))


def _fit(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    encoder: PromptEncoder,
    pairs: GradedPairs,
    training: JudgeTraining,
) -> None:
    """Teaches the model the answers and, for the sake of the words' meaning, the text as well.

    The loss is that of the answer plus the mean of a language model's over query and document.
    Fences are left out of it: they cannot be foreseen, and would drown what can.
    """
    encoded = _encode(encoder, pairs)
    prompts = [prompt.token_ids for prompt in encoded]
    fenced = _fence_places(tokenizer, [prompt.message for prompt in encoded])
    answers = torch.tensor(encoder.choice_tokens(CHOICES.choices))[torch.from_numpy(pairs.grades)]
    # In the order of lists, what the first and the last share, all share.
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
            tokens, last = _pad([prompts[row] for row in rows])
            logits = _logits_after_shared(model, tokens, shared)
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


def _fence_places(tokenizer: PreTrainedTokenizerFast, messages: list[str]) -> list[torch.Tensor]:
    """Of each token of each message, whether it is of a fence; bool, shape (tokens,)."""
    places = []
    offsets = tokenizer(messages, return_offsets_mapping=True)["offset_mapping"]
    for message, spans in zip(messages, offsets, strict=True):
        inside = np.zeros(len(message) + 1, dtype=bool)
        for fence in FENCE.finditer(message):
            inside[fence.start() : fence.end()] = True
        places.append(torch.from_numpy(inside[[start for start, _ in spans]]))
    return places


def _logits_after_shared(
    model: Qwen2ForCausalLM, tokens: torch.Tensor, shared: int
) -> torch.Tensor:
    """Logits at each token from `shared` on; what all prompts share is read once for the batch.

    Args:
        model: the judge.
        tokens: shape (batch, length), padded at the end.
        shared: leading tokens that are the same in each row.

    Returns:
        Shape (batch, length - shared, vocabulary).
    """
    cache = model.model(tokens[:1, :shared], use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(tokens))
    hidden = model.model(tokens[:, shared:], past_key_values=cache).last_hidden_state
    logits: torch.Tensor = model.lm_head(hidden)
    return logits


def _pad(prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (batch, longest), zeros at the end, and the place of each prompt's last token."""
    rows = [torch.tensor(token_ids) for token_ids in prompts]
    last = torch.tensor([len(row) - 1 for row in rows])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), last


def _report(
    model: Qwen2ForCausalLM, encoder: PromptEncoder, unseen: GradedPairs, seconds: float
) -> JudgeReport:
    prompts = [prompt.token_ids for prompt in _encode(encoder, unseen)]
    choices = encoder.choice_tokens(CHOICES.choices)
    model.train(False)
    graded = []
    with torch.no_grad():
        for start in range(0, len(prompts), 100):
            tokens, last = _pad(prompts[start : start + 100])
            logits = _logits_after_shared(model, tokens, shared=1)
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


def _fingerprint(training: JudgeTraining) -> str:
    """Changes with everything that the judge depends on."""
    makers = (annotation.prompts.prompt_encoder, annotation.prompts.prompt, corpus.simulation.world)
    sources = [__file__, str(VOCABULARY_PATH), *(inspect.getfile(maker) for maker in makers)]
    content = [Path(source).read_bytes() for source in sources]
    content += [repr(load_prompt()).encode(), repr(training).encode()]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:12]
