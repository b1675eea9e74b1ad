"""Scores blocks of pairs with saved rankers, in one process or in the actors of a pool."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import torch
from torch import nn
from transformers import PreTrainedModel

from rankers.cross_encoder import load_cross_encoder
from rankers.list_ranker import ListRanker, Precision, ranking_scores, uses_bf16
from rankers.lists import list_traffic, pad_lists, tokenize_lists
from rankers.mix_file import read_heads_mix
from rankers.mixing import Constant
from rankers.scoring_shortcuts import end_at_first_token, mask_once

# On CPUs the activations of a pass should stay in the cache, and be small enough that the allocator
# keeps their memory: what it gets from the system each time costs a page fault a page. GPUs want
# more work at once, and so do the units for bfloat16 that some CPUs have.
CACHED_TOKENS, MOST_TOKENS = 1024, 8192
# Tokenizers read a text to its end before they cut it, and hold all of what they are given at once:
# some 100 bytes a token. A block may have nothing but the longest documents.
TOKENIZED_AT_ONCE = 32


class PairScorer:
    """Scores blocks of pairs, each block with the ranker that it names.

    The pairs of a block are sorted by length and cut into passes together, so a block of many
    pairs is hardly padded.

    Args:
        rankers: checkpoint folders by name.
        lists: text, frequency and bucket of each query, as of `rankers.lists.candidate_ids`.
        texts: of the documents, from `corpus.texts.document_column`.
        precision: that the encoder computes in: fp32, bf16, or auto: bf16 where the processor has
            units for it. The scores are made of its last states in float32.
    """

    def __init__(
        self,
        rankers: Mapping[str, str],
        lists: pa.Table,
        texts: pa.Array,
        precision: Precision = "fp32",
    ) -> None:
        self.rankers = rankers
        self.lists = lists
        self.texts = texts
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.in_bf16 = uses_bf16(precision, self.device)
        small = self.device.type == "cpu" and not self.in_bf16
        self.tokens_per_pass = CACHED_TOKENS if small else MOST_TOKENS
        self._loaded = ""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Scores the pairs of a block, at least one.

        Args:
            block: ranker, one name; pair, which is passed on; list and document, int64, rows of
                the lists and of the texts.

        Returns:
            ranker, pair and score, float32, of each pair.
        """
        self._load(block["ranker"][0].as_py())
        document = self.texts.take(block["document"].combine_chunks())
        # As lists of one document each, whose queries are repeated.
        documents = pa.ListArray.from_arrays(np.arange(len(document) + 1, dtype=np.int32), document)
        lists = self.lists.take(block["list"]).append_column("documents", documents)
        longest = self.tokenizer.model_max_length
        parts = range(0, lists.num_rows, TOKENIZED_AT_ONCE)
        tokenized = pa.concat_tables(
            tokenize_lists(lists.slice(first, TOKENIZED_AT_ONCE), self.tokenizer, longest)
            for first in parts
        )
        batch = pad_lists(tokenized, self.tokenizer.pad_token_id, self.tokens_per_pass)
        with torch.inference_mode():
            scores = ranking_scores(self.model(batch), self.mix(1.0, list_traffic(lists)))
        scored = block.select(["ranker", "pair"])
        return scored.append_column("score", pa.array(scores[:, 0].cpu().numpy()))

    def _load(self, ranker: str) -> None:
        """Keeps one ranker at a time, since the blocks of a ranker follow each other."""
        if ranker != self._loaded:
            # Of one head any weight makes the score.
            mix = read_heads_mix(Path(self.rankers[ranker]))
            model, self.tokenizer = load_cross_encoder(self.rankers[ranker], heads=2 if mix else 1)
            end_at_first_token(model)
            mask_once(model)
            if self.in_bf16:
                encode_in_bf16(model)
            self.mix = mix or Constant()
            self.model = ListRanker(model).to(self.device).train(False)
            self._loaded = ranker


class PooledScorer(PairScorer):
    """A `PairScorer` that reads the texts in the object store, one copy for all on a node."""

    def __init__(
        self,
        rankers: Mapping[str, str],
        lists: "ray.ObjectRef[pa.Table]",
        texts: "ray.ObjectRef[pa.Array]",
        precision: Precision = "fp32",
    ) -> None:
        super().__init__(rankers, ray.get(lists), ray.get(texts), precision)


def encode_in_bf16(model: PreTrainedModel) -> None:
    """Turns the weights to bfloat16, but for those of the scoring head.

    The head makes float32 scores of states that it is given in bfloat16: scores in bfloat16 have
    eight bits, too few to tell the documents of a query apart.

    Args:
        model: a sequence classifier whose last linear layer with an output a label is its head.
    """
    model.to(torch.bfloat16)  # type: ignore[arg-type] # its stub takes no dtype
    heads = model.config.num_labels
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    head = [layer for layer in linear if layer.out_features == heads][-1].float()
    head.register_forward_pre_hook(lambda _, states: tuple(state.float() for state in states))
