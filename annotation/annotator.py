"""The Ray Data actor: a strategy and an engine, from pairs of ids to rows of annotations."""

import time
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray
from transformers import AutoTokenizer

from annotation.pointwise import (
    GRADES,
    STRATEGY,
    PointwiseEncoder,
    grade_from_log_probabilities,
)
from annotation.prompts import Prompt
from annotation.vllm_engine import VllmEngine
from corpus.errors import InputError


@dataclass(frozen=True)
class Judge:
    """Who annotates, and how.

    Attributes:
        annotator: the name that the table shows.
        model: a Hugging Face id or the path of a folder.
        prompt: what the model is asked.
        max_model_len: tokens of prompt and answer together.
    """

    annotator: str
    model: str
    prompt: Prompt
    max_model_len: int

    def encoder(self) -> PointwiseEncoder:
        """Loads the tokenizer.

        Raises:
            InputError: the model has no tokenizer; and see `PointwiseEncoder`.
        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model)
        except (OSError, ValueError) as error:
            raise InputError(f"{self.model}: its tokenizer cannot be read: {error}") from error
        return PointwiseEncoder(tokenizer, self.prompt, longest=self.max_model_len - 1)


class Annotator:
    """Annotates batches of pairs; each instance has an engine of its own.

    Args:
        judge: who annotates, and how.
        gpus: number of GPUs of the engine; 0 runs it on the CPU.
        queries: reference to the table of queries.
        documents: reference to the table of documents.
    """

    def __init__(
        self, judge: Judge, gpus: int, queries: ray.ObjectRef, documents: ray.ObjectRef
    ) -> None:
        self._judge = judge
        self._queries: pa.Table = ray.get(queries)
        self._documents: pa.Table = ray.get(documents)
        self._encoder = judge.encoder()
        self._engine = VllmEngine(judge.model, judge.max_model_len, gpus)

    def __call__(self, pairs: pa.Table) -> pa.Table:
        """Annotates a batch.

        Args:
            pairs: part, query_row, doc_row; rows number those of the two tables.

        Returns:
            In the same order the columns of `annotations`, and: cut, whether the document was cut
            to fit; part, as given; started, when the batch was begun (seconds since 1970).
        """
        started = time.time()
        queries = self._queries.take(pairs["query_row"])
        documents = self._documents.take(pairs["doc_row"])
        encoded = self._encoder.encode(
            queries["text"].to_pylist(),
            documents["title"].to_pylist(),
            documents["body"].to_pylist(),
        )
        asked = [row for row, error in enumerate(encoded.errors) if error is None]
        log_probabilities = np.full((pairs.num_rows, len(GRADES)), np.nan)
        errors = list(encoded.errors)
        log_probabilities[asked], engine_errors = self._engine.log_probabilities(
            [encoded.token_ids[row] for row in asked], self._encoder.grade_token_ids
        )
        for row, error in zip(asked, engine_errors, strict=True):
            errors[row] = error
        grade, expected_grade, confidence = grade_from_log_probabilities(log_probabilities)
        failed = np.isnan(log_probabilities).any(axis=1)
        columns = {
            "query_id": queries["query_id"],
            "doc_id": documents["doc_id"],
            "annotator": [self._judge.annotator] * pairs.num_rows,
            "strategy": [STRATEGY] * pairs.num_rows,
            "prompt_id": [self._judge.prompt.prompt_id] * pairs.num_rows,
            "grade": pa.array(grade, mask=failed),
            "expected_grade": pa.array(expected_grade, mask=failed),
            "confidence": pa.array(confidence, mask=failed),
            "error": pa.array(errors, pa.string()),
            "cut": encoded.cut,
            "part": pairs["part"],
            "started": [started] * pairs.num_rows,
        }
        return pa.table(columns)
