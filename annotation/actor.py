"""The actor: it annotates batches of pairs with a strategy and an engine."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from threading import Lock
from uuid import uuid4

import numpy as np
import pyarrow as pa

from annotation.asking.ask import Asking, DocumentList, Verdict
from annotation.asking.strategies import STRATEGIES
from annotation.engines.base import BUDGET_ERROR, ENGINE_ERROR, Secret
from annotation.engines.token_spend import Spend
from annotation.judge import Judge
from annotation.prompts.prompt import Document
from corpus.errors import InputError

PAIRS_TO_JUDGE_BY, QUERIES_TO_JUDGE_BY = 200, 5
VERDICT_TYPES = {
    "grade": pa.int64(),
    "expected_grade": pa.float64(),
    "confidence": pa.float64(),
    "answered_mass": pa.float64(),
    "reasoning": pa.string(),
    "error": pa.string(),
    "shown_position": pa.int64(),
}


class Annotator:
    """Annotates batches of pairs; each instance has an engine of its own.

    Args:
        judge: who annotates, and how.
        secret: the endpoint's key.
        spend: the shared count of spent tokens; None where there is no budget.
    """

    def __init__(self, judge: Judge, secret: Secret, spend: Spend | None = None) -> None:
        self._judge = judge
        encoder = judge.encoder()
        self._asking = Asking(
            engine=judge.engine.start(judge.model, judge.max_model_len, encoder, secret, spend),
            encoder=encoder,
            max_model_len=judge.max_model_len,
            documents_per_prompt=judge.documents_per_prompt,
            seed=judge.seed,
            thinking=judge.thinking,
        )
        self._id = uuid4().hex  # an actor that Ray starts again counts from 0 again
        self._begun = 0  # number of batches
        self._beginning = Lock()

    def annotate(self, pairs: pa.Table) -> pa.Table:
        """Annotates a batch.

        Args:
            pairs: part, query_row (a number for each query), query_id, text, doc_id, title and body
                of each pair; rows of one query are adjacent.

        Returns:
            A row for each pair in the same order: the columns of the table annotations and of
            `Verdict`; part, as given; started and ended, when the batch was worked on (seconds
            since 1970); and the columns that `until_closed` reads: actor (its id), number (of the
            batch in this actor, from 0), begun (how many batches the actor had begun when this one
            ended), and closed and notes (in lines) of the engine.
        """
        started = time.time()
        with self._beginning:
            number = self._begun
            self._begun += 1
        texts = [
            Document(title, body)
            for title, body in zip(
                pairs["title"].to_pylist(), pairs["body"].to_pylist(), strict=True
            )
        ]
        begins = np.flatnonzero(np.diff(pairs["query_row"], prepend=-1)).tolist()
        lists = [
            DocumentList(
                pairs["query_id"][begin].as_py(), pairs["text"][begin].as_py(), texts[begin:end]
            )
            for begin, end in zip(begins, [*begins[1:], len(texts)], strict=True)
        ]
        verdicts = STRATEGIES[self._judge.strategy](lists, self._asking)
        same = {
            "annotator": self._judge.annotator,
            "strategy": self._judge.strategy,
            "prompt_id": self._judge.prompt.prompt_id,
            "started": started,
            "ended": time.time(),
            "actor": self._id,
            "number": number,
            "closed": self._asking.engine.closed,
            "notes": "\n".join(self._asking.engine.notes),
            "begun": self._begun,  # read last, to hold all that the engine may have answered
        }
        columns = {
            "query_id": pairs["query_id"],
            "doc_id": pairs["doc_id"],
            **{name: pa.repeat(value, len(texts)) for name, value in same.items()},
            **_columns([verdict for listed in verdicts for verdict in listed]),
            "part": pairs["part"],
        }
        return pa.table(columns)


def until_closed(answers: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yields batches until an engine is closed and all batches that it has answered have come.

    Prints each note of the engines once. A batch that the engine answered before it was closed may
    come after one that says so; a batch that was begun later holds no answer.

    Args:
        answers: annotated batches of `Annotator`, in any order.

    Raises:
        InputError: an engine was closed for another reason than its budget; all batches that it had
            answered were yielded.
    """
    # Of each actor, how many of its first batches have come, and which later ones.
    first: dict[str, int] = defaultdict(int)
    later: dict[str, set[int]] = defaultdict(set)
    awaited: dict[str, int] = {}
    reason = ""
    said: set[str] = set()
    told = ["actor", "number", "begun", "closed", "notes"]
    for answer in answers:
        actor, number, begun, closed, notes = (answer[name][0].as_py() for name in told)
        for note in notes.splitlines():
            if note not in said:
                print(note)
                said.add(note)
        yield answer.drop_columns(told)
        later[actor].add(number)
        while first[actor] in later[actor]:
            later[actor].remove(first[actor])
            first[actor] += 1
        if closed:
            awaited.setdefault(actor, begun)
            reason = closed
        if any(batches <= first[actor] for actor, batches in awaited.items()):
            break
    kind, _, detail = reason.partition(": ")
    if kind == ENGINE_ERROR:
        raise InputError(f"the judge does not answer: {detail}")


def until_failing(answers: Iterable[pa.Table], most: float) -> Iterator[pa.Table]:
    """Yields batches until too many of their pairs have failed.

    Args:
        answers: annotated batches of `Annotator`; batches of a closed engine do not count.
        most: the largest share of failed pairs, in [0, 1]. It is checked once there are
            PAIRS_TO_JUDGE_BY pairs and pairs of QUERIES_TO_JUDGE_BY queries have failed, as a
            single query that a server refuses says nothing about others. Pairs that a spent budget
            left unasked do not count.

    Raises:
        InputError: a larger share has failed; all batches until then were yielded.
    """
    reasons: Counter[str] = Counter()
    queries: set[str] = set()
    pairs = 0
    for answer in answers:
        yield answer
        if answer["closed"][0].as_py():
            continue
        columns = (answer[name].to_pylist() for name in ("query_id", "error"))
        for query_id, error in zip(*columns, strict=True):
            asked = error is None or error.partition(":")[0] != BUDGET_ERROR
            pairs += asked
            if asked and error is not None:
                reasons[error] += 1
                queries.add(query_id)
        enough = pairs >= PAIRS_TO_JUDGE_BY and len(queries) >= QUERIES_TO_JUDGE_BY
        if enough and reasons.total() > most * pairs:
            reason = reasons.most_common(1)[0][0]
            raise InputError(
                f"{reasons.total():,} of the first {pairs:,} pairs failed, more than --max_failed "
                f"{most:g} allows, most often with {reason}"
            )


def _columns(verdicts: Sequence[Verdict]) -> dict[str, pa.Array]:
    return {
        field.name: pa.array(
            [getattr(verdict, field.name) for verdict in verdicts], VERDICT_TYPES.get(field.name)
        )
        for field in fields(Verdict)
    }
