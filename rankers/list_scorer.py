"""Scores blocks of lists with saved rankers, in one process or in the actors of a pool."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from rankers.cross_encoder import load_cross_encoder
from rankers.list_ranker import ListRanker, ranking_scores
from rankers.lists import in_lists, list_traffic, pad_lists, tokenize_lists
from rankers.mix_file import read_heads_mix
from rankers.mixing import Constant

# On CPUs the activations of a pass should stay in the cache, and be small enough that the allocator
# keeps their memory: what it gets from the system each time costs a page fault a page. GPUs want
# more work at once.
TOKENS_PER_PASS = {"cpu": 1024, "cuda": 8192}
# Sequence classifiers that score a pair by its first token alone.
FIRST_TOKEN_MODELS = ("bert", "electra", "roberta", "xlm-roberta")


class ListScorer:
    """Scores blocks of lists, each block with the ranker that it names.

    All pairs of a block are sorted by length and cut into passes together, so a block of many
    pairs is hardly padded.

    Args:
        rankers: checkpoint folders by name.
        texts: of the documents, from `corpus.texts.document_column`.
    """

    def __init__(self, rankers: Mapping[str, str], texts: pa.Array) -> None:
        self.rankers = rankers
        self.texts = texts
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._loaded = ""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Scores the documents of a block.

        Args:
            block: ranker, one name; row, int64; query_id, text, frequency and bucket of the query,
                doc_ids, and documents, lists of rows of the texts.

        Returns:
            ranker, row, place in the list, query_id, doc_id and score, float32, of each document.
        """
        ranker = block["ranker"][0].as_py()
        self._load(ranker)
        rows = block["documents"].combine_chunks()
        texts = in_lists(self.texts.take(rows.flatten()), rows)
        scores = self._score(block.drop_columns(["documents"]).append_column("documents", texts))
        lengths = rows.value_lengths().to_numpy()
        of_pair = np.repeat(np.arange(block.num_rows), lengths)
        return pa.table(
            {
                "ranker": pa.repeat(ranker, len(scores)),
                "row": block["row"].take(of_pair),
                "place": np.concatenate([np.arange(length) for length in lengths]),
                "query_id": block["query_id"].take(of_pair),
                "doc_id": block["doc_ids"].combine_chunks().flatten(),
                "score": scores,
            }
        )

    def _load(self, ranker: str) -> None:
        """Keeps one ranker at a time, since the blocks of a ranker follow each other."""
        if ranker != self._loaded:
            # Of one head any weight makes the score.
            mix = read_heads_mix(Path(self.rankers[ranker]))
            model, self.tokenizer = load_cross_encoder(self.rankers[ranker], heads=2 if mix else 1)
            end_at_first_token(model)
            self.mix = mix or Constant()
            self.model = ListRanker(model).to(self.device).train(False)
            self._loaded = ranker

    def _score(self, lists: pa.Table) -> NDArray[np.float32]:
        tokenized = tokenize_lists(lists, self.tokenizer, self.tokenizer.model_max_length)
        tokens = TOKENS_PER_PASS[self.device.type]
        batch = pad_lists(tokenized, self.tokenizer.pad_token_id, tokens)
        with torch.inference_mode():
            scores = ranking_scores(self.model(batch), self.mix(1.0, list_traffic(lists)))
        return np.asarray(scores.cpu()[batch.where].numpy(), np.float32)


class PooledScorer(ListScorer):
    """A `ListScorer` that reads the texts in the object store, one copy for all on a node."""

    def __init__(self, rankers: Mapping[str, str], texts: "ray.ObjectRef[pa.Array]") -> None:
        super().__init__(rankers, ray.get(texts))


def end_at_first_token(model: PreTrainedModel) -> None:
    """Lets the last layer make the first token alone, where the score is read from no other.

    Its attention still reads all tokens; what follows that is most of a layer's work. The model
    can be trained no more, nor asked for the other tokens' last states.
    """
    if model.config.model_type in FIRST_TOKEN_MODELS:
        last = f"encoder.layer.{model.config.num_hidden_layers - 1}"
        model.base_model.get_submodule(f"{last}.attention.output").register_forward_pre_hook(
            lambda _, states: tuple(state[:, :1] for state in states)
        )
