"""Scores blocks of pairs with saved rankers, in one process."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import torch
from transformers import PreTrainedModel

from cluster.resources import cuda_fault
from corpus.errors import InputError
from corpus.local_copies import local_copy
from corpus.places import Place, is_local, place_of
from rankers.data.bucket_floors import read_bucket_floors, with_buckets
from rankers.data.padding import pad_lists
from rankers.data.pair_template import as_pairs, pair_ids
from rankers.mixes import Constant
from rankers.mixes.encoding import read_heads_mix
from rankers.models.cross_encoder import check_model, load_cross_encoder, score_in_float32
from rankers.models.first_token import end_at_first_token, mask_once
from rankers.models.list_ranker import ListRanker, ranking_scores, use_tensor_cores, uses_bf16
from rankers.models.tokenizer import model_place
from rankers.settings import Precision

# On CPUs the activations of a micro-batch should stay in the cache, and be small enough that the
# allocator keeps their memory: what it gets from the system each time costs a page fault a page.
# GPUs want more work at once, and so do the units for bfloat16 that some CPUs have.
CACHED_TOKENS, MOST_TOKENS = 1024, 8192
# Tokenizers read a text to its end before they cut it, and hold all of what they are given at once:
# some 100 bytes a token. A block may have nothing but the longest documents.
TOKENIZED_AT_ONCE = 32


class PairScorer:
    """Scores blocks of pairs, each block with the ranker that it names.

    The pairs of a block are sorted by length and cut into micro-batches together, so a block of
    many pairs is hardly padded.

    Args:
        rankers: from `ranker_place`, by name. Two heads are mixed by the buckets of their training,
            which lie beside them.
        lists: text, frequency and bucket of each query, as of `rankers.data.lists.candidate_ids`.
        texts: of the documents, from `corpus.texts.document_column`.
        precision: that the encoder computes in: fp32, tf32 (on GPUs), bf16, or auto: bf16 where the
            processor has units for it. The scores are made of its last states in float32.
        use_gpu: whether to compute on a GPU, of those that this process sees, the first.
    """

    def __init__(
        self,
        rankers: Mapping[str, str],
        lists: pa.Table,
        texts: pa.Array,
        precision: Precision = "fp32",
        use_gpu: bool = False,
    ) -> None:
        self.rankers = rankers
        self.lists = lists
        self.texts = texts
        self.precision = precision
        # Ray hides no GPU from actors that have asked for none.
        self.device = torch.device("cuda" if use_gpu else "cpu")
        self._loaded = ""

    def __call__(self, block: pa.Table) -> pa.Table:
        """Scores the pairs of a block, at least one.

        Args:
            block: ranker, one name; pair, which is passed on; list and document, int64, rows of
                the lists and of the texts.

        Returns:
            ranker, pair and score, float32, of each pair.

        Raises:
            InputError: a ranker cannot be loaded here, or there is no GPU.
        """
        self._load(block["ranker"][0].as_py())
        documents = self.texts.take(block["document"].combine_chunks()).to_pylist()
        # As lists of one document each, whose queries are repeated.
        lists = self.lists.take(block["list"])
        queries = lists["text"].to_pylist()
        pairs = as_pairs(
            pa.concat_tables(
                pair_ids(
                    self.tokenizer,
                    queries[first : first + TOKENIZED_AT_ONCE],
                    documents[first : first + TOKENIZED_AT_ONCE],
                    self.tokenizer.model_max_length,
                )
                for first in range(0, len(documents), TOKENIZED_AT_ONCE)
            )
        )
        alone = pa.array([[row] for row in range(len(documents))])
        lists = with_buckets(lists.select(["frequency", "bucket"]), self.floors)
        lists = lists.append_column("doc_ids", alone)
        batch = pad_lists(lists, pairs, self.tokenizer.pad_token_id, self.tokens_at_once)
        with torch.inference_mode():
            scores = ranking_scores(self.model(batch), self.mix(1.0, batch.traffic))
        scored = block.select(["ranker", "pair"])
        return scored.append_column("score", pa.array(scores[:, 0].cpu().numpy()))

    def _load(self, ranker: str) -> None:
        """Keeps one ranker at a time, since the blocks of a ranker follow each other."""
        if ranker != self._loaded:
            if self.device.type == "cuda" and (fault := cuda_fault()):
                raise InputError(f"use_gpu: {fault}, or leave use_gpu out")
            # Of one head any weight makes the score.
            folder = _on_this_node(self.rankers[ranker])
            mix = read_heads_mix(Path(folder))
            model, self.tokenizer = load_cross_encoder(folder, heads=2 if mix else 1)
            end_at_first_token(model, frozen=True)
            mask_once(model)
            use_tensor_cores(self.precision, self.device)
            in_bf16 = uses_bf16(self.precision, self.device)
            if in_bf16:
                encode_in_bf16(model)
            small = self.device.type == "cpu" and not in_bf16
            self.tokens_at_once = CACHED_TOKENS if small else MOST_TOKENS
            self.mix = mix or Constant()
            self.floors = read_bucket_floors(Path(folder)) if mix else None
            self.model = ListRanker(model).to(self.device).train(False)
            self._loaded = ranker


def ranker_place(ranker: str | Place) -> str:
    """Where any process finds a ranker that can be scored with.

    Args:
        ranker: a folder, local or in a store, or a Hugging Face id.

    Raises:
        InputError: it cannot be loaded, or its head is not one that was trained for ranking.
    """
    place = place_of(ranker)
    found = model_place(place) if is_local(place) else str(place)
    folder = _on_this_node(found)
    try:
        # A model that is not in a store is named as it was given.
        check_model(
            str(ranker) if is_local(place) else folder,
            heads=2 if read_heads_mix(Path(folder)) else 1,
        )
    except InputError as error:
        raise InputError(str(error).replace(folder, str(ranker))) from error
    return found


def _on_this_node(ranker: str) -> str:
    """A local folder, or a Hugging Face id."""
    place = place_of(ranker)
    return ranker if is_local(place) else str(local_copy(place))


def encode_in_bf16(model: PreTrainedModel) -> None:
    """Turns the weights to bfloat16, but for those of the scoring head.

    Args:
        model: as of `score_in_float32`.
    """
    model.to(torch.bfloat16)  # type: ignore[arg-type] # its stub takes no dtype
    score_in_float32(model).float()
