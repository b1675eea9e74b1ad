"""A pair has the score that it has by itself, whatever it is scored beside."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedConfig,
    RobertaConfig,
)

from corpus.errors import InputError
from corpus.tables import Collection
from rankers.data.lists import candidate_ids, candidate_lists
from rankers.data.padding import list_traffic
from rankers.models.cross_encoder import load_cross_encoder
from rankers.scoring.blocks import refuse_unsound, scoring_blocks
from rankers.scoring.pair_scorer import PairScorer, encode_in_bf16
from tests.rankers.conftest import MIX, random_model


def test_blocks_hold_every_pair_once_and_end_with_the_shortest() -> None:
    rows = pa.array([[2, 0], [1], [0, 3, 2]])
    texts = pa.array(["four", "ab", "längste", ""])
    # Six pairs in blocks for sixteen: one each.
    blocks = list(scoring_blocks(rows, texts, ["r", "s"], 2))
    assert [block["ranker"].to_pylist() for block in blocks] == [["r"]] * 6 + [["s"]] * 6
    first, second = (pa.concat_tables(blocks[i : i + 6]).drop_columns(["ranker"]) for i in (0, 6))
    assert first.to_pydict() == {
        "pair": [0, 5, 1, 3, 2, 4],
        "list": [0, 2, 0, 2, 1, 2],
        "document": [2, 2, 0, 0, 1, 3],
    }
    assert first.equals(second)


def test_a_pair_has_the_score_that_it_has_by_itself(
    collection: Collection, ranker: Path, scores: NDArray[np.float32]
) -> None:
    lists = candidate_lists(collection, None)
    model, tokenizer = load_cross_encoder(str(ranker), heads=2)
    alone = []
    weights = MIX(1.0, list_traffic(lists)).tolist()
    for row, weight in zip(lists.to_pylist(), weights, strict=True):
        for document in row["documents"]:
            pair = tokenizer(row["text"], document, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                clicks, relevance = model.eval()(**pair).logits[0].tolist()
            alone.append(weight * clicks + (1 - weight) * relevance)
    assert np.std(scores) > 0.1
    np.testing.assert_allclose(scores, alone, rtol=1e-5)


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_scores_that_cannot_be_sorted_are_refused(score: float) -> None:
    ids = {"query_id": ["q1", "q2", "q2"], "doc_id": ["a", "b", "c"]}
    refuse_unsound(pa.table({**ids, "score": [1.0, 2.0, 3.0]}), "r")
    with pytest.raises(InputError, match="ranker r gives query 'q2' and document 'b' the score"):
        refuse_unsound(pa.table({**ids, "score": [1.0, score, score]}), "r")


@pytest.mark.parametrize("config", [BertConfig, ElectraConfig, RobertaConfig, DistilBertConfig])
def test_scores_of_a_bf16_encoder_are_finer_than_bf16(config: type[PreTrainedConfig]) -> None:
    model = random_model(config)
    ids = torch.randint(3, 99, (50, 20))
    with torch.inference_mode():
        whole = model(input_ids=ids).logits
        encode_in_bf16(model)
        scores = model(input_ids=ids).logits
    assert model.base_model.dtype == torch.bfloat16
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.to(torch.bfloat16).float())
    torch.testing.assert_close(scores, whole, atol=0.02 * float(whole.abs().max()), rtol=0)


@pytest.mark.parametrize("there", [True, False])
def test_a_scorer_computes_where_it_is_told(
    there: bool, collection: Collection, ranker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray hides no GPU from actors that asked for none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    lists, texts = candidate_ids(collection, None), pa.array(["tide"])
    for use_gpu, device in ((False, "cpu"), (True, "cuda")):
        assert PairScorer({"r": str(ranker)}, lists, texts, use_gpu=use_gpu).device.type == device
