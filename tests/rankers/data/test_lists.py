import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from corpus.errors import InputError
from corpus.frequency import BUCKETS
from corpus.schemas import empty_table
from corpus.tables import Collection
from rankers.data.lists import (
    add_labels,
    candidate_lists,
)
from rankers.data.padding import list_traffic, pad_lists
from rankers.data.pair_template import TokenizedPairs, as_pairs, pair_ids
from rankers.mixes import ByBucket
from rankers.mixes.encoding import HEADS_MIX
from rankers.models.cross_encoder import add_adapters, load_cross_encoder
from rankers.models.list_ranker import ListRanker, ranking_scores, save_ranker
from rankers.models.small_bert import build_small_bert
from tests.rankers.conftest import score_in_one_process


@pytest.fixture(scope="module")
def collection() -> Collection:
    return Collection(
        queries=pa.table(
            {
                "query_id": ["q1", "q2", "q3"],
                "text": ["rye bread", "tides", "none"],
                "frequency": [9, 1, 4],
            }
        ),
        documents=pa.table(
            {
                "doc_id": ["a", "b", "c"],
                "title": ["Rye", "", "Tides"],
                "body": ["bread of rye", "sourdough " * 50, "the moon pulls the sea"],
            }
        ),
        candidates=pa.table(
            {
                "query_id": ["q1", "q2", "q1"],
                "doc_id": ["b", "c", "a"],
                "rank": [2, 1, 1],
                "score": [1.0, 5.0, 2.0],
            }
        ),
        sessions=empty_table("sessions"),
        judgments=empty_table("judgments"),
        splits=pa.table({"query_id": ["q1", "q2", "q3"], "split": ["train", "test", "train"]}),
    )


def test_lists_hold_the_candidates_of_a_split_by_rank(collection: Collection) -> None:
    lists = candidate_lists(collection, "train")
    assert lists["query_id"].to_pylist() == ["q1"]
    assert lists["doc_ids"].to_pylist() == [["a", "b"]]
    assert lists["documents"][0][0].as_py() == "Rye bread of rye"
    assert candidate_lists(collection, None)["query_id"].to_pylist() == ["q1", "q2"]


def test_a_split_without_candidates_is_refused(collection: Collection) -> None:
    with pytest.raises(InputError, match="validation"):
        candidate_lists(collection, "validation")


def test_labels_meet_their_pairs_and_are_null_where_nothing_is_known(
    collection: Collection,
) -> None:
    clicks = pa.table(
        {
            "query_id": ["q2", "q1"],
            "doc_id": ["c", "b"],
            "relevance": [0.5, 0.25],
            "impressions": [3, 8],
        }
    )
    grades = pa.table(
        {"query_id": ["q1", "q1"], "doc_id": ["a", "b"], "expected_grade": [2.5, None]}
    )
    lists = add_labels(candidate_lists(collection, None), clicks, grades, "expected_grade")
    assert lists["click_label"].to_pylist() == [[None, 0.25], [0.5]]
    assert lists["annotation_label"].to_pylist() == [[2.5, None], [None]]
    traffic = list_traffic(lists)
    assert traffic.frequency.tolist() == [9, 1]
    assert [BUCKETS[number] for number in traffic.bucket.tolist()] == ["high", "low"]
    assert traffic.impressions.tolist() == [4.0, 3.0], "of a candidate, shown or not"


def test_confident_grades_weigh_by_confidence(collection: Collection) -> None:
    grades = pa.table(
        {
            "query_id": ["q1", "q1", "q2"],
            "doc_id": ["a", "b", "c"],
            "grade": [3, 0, 1],
            "expected_grade": [2.5, 0.5, 1.0],
            "confidence": [0.75, 0.5, None],
        }
    )
    for label, expected, weight in (
        ("grade", [[3.0, 0.0], [1.0]], [[1.0, 1.0], [1.0]]),
        ("expected_grade", [[2.5, 0.5], [1.0]], [[1.0, 1.0], [1.0]]),
        ("confident_grade", [[2.5, 0.5], [1.0]], [[0.75, 0.5], [1.0]]),
    ):
        lists = add_labels(candidate_lists(collection, None), None, grades, label)
        assert lists["annotation_label"].to_pylist() == expected
        assert lists["annotation_weight"].to_pylist() == weight


def test_two_labels_of_one_pair_are_refused(collection: Collection) -> None:
    grades = pa.table({"query_id": ["q1"] * 2, "doc_id": ["a"] * 2, "grade": [1, 2]})
    with pytest.raises(InputError, match=r"'q1'.*'a'.*more than one"):
        add_labels(candidate_lists(collection, None), None, grades, "grade")


def tokenized(
    lists: pa.Table, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> TokenizedPairs:
    pairs = [(row["text"], text) for row in lists.to_pylist() for text in row["documents"]]
    queries, documents = zip(*pairs, strict=True)
    return as_pairs(pair_ids(tokenizer, queries, documents, max_length))


def test_pairs_are_tokenized_cut_and_padded(
    collection: Collection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("bert")
    build_small_bert(collection, folder, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lists = add_labels(candidate_lists(collection, None), None, None, "grade")
    pairs = tokenized(lists, tokenizer, 16)
    padded = pad_lists(lists, pairs, tokenizer.pad_token_id, 24)
    # The longest pair is read first; it fills a micro-batch.
    assert padded.micro_batches.pairs[0] == 1
    longest, *short = padded.micro_batches.inputs
    assert longest["input_ids"].shape == (1, 16)
    assert longest["attention_mask"].sum() == 16
    assert torch.equal(longest["token_type_ids"].unique(), torch.tensor([0, 1]))
    ids = [row for one in short for row in one["input_ids"].tolist()]
    assert "rye bread rye bread of rye" in tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert padded.where.tolist() == [[True, True], [True, False]]
    assert padded.labels.click.isnan().all()
    assert padded.micro_batches.tokens == pairs.lengths.sum()


def test_small_bert_is_the_same_for_the_same_seed(
    collection: Collection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = [tmp_path_factory.mktemp("bert") for _ in range(2)]
    for folder in folders:
        build_small_bert(collection, folder, seed=3)
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert np.array_equal(*[np.frombuffer(content, np.uint8) for content in weights])


def test_a_small_bert_tells_documents_apart_before_it_has_learned(
    collection: Collection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where all scores are alike there is no gradient, and training does not begin."""
    folder = tmp_path_factory.mktemp("bert")
    build_small_bert(collection, folder, seed=0)
    model, tokenizer = load_cross_encoder(str(folder), 32)
    lists = candidate_lists(collection, "train")
    pairs = tokenized(lists, tokenizer, 32)
    scores = ListRanker(model)(pad_lists(lists, pairs, tokenizer.pad_token_id, 64))
    assert scores.std() > 1e-3


def test_two_heads_adapters_and_one_head_are_saved_as_they_score(
    collection: Collection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What training made is what rerank loads: for two heads with their mix, for LoRA merged."""
    bert = tmp_path_factory.mktemp("bert")
    build_small_bert(collection, bert, seed=0)
    lists = candidate_lists(collection, None)
    for heads, adapters in ((1, 0), (2, 0), (1, 4)):
        torch.manual_seed(0)
        model, tokenizer = load_cross_encoder(str(bert), 32, heads, new_head=True)
        if adapters:
            model = add_adapters(model, adapters)
            with torch.no_grad():  # adapters start at zero
                for name, parameter in model.named_parameters():
                    if "lora_B" in name:
                        parameter.fill_(0.1)
        ranker = ListRanker(model).train(False)
        pairs = tokenized(lists, tokenizer, 32)
        batch = pad_lists(lists, pairs, tokenizer.pad_token_id, 64)
        mix = ByBucket(high=1.0, medium=0.5, low=0.0)
        with torch.no_grad():
            expected = ranking_scores(ranker(batch), mix(1.0, batch.traffic))[batch.where]
        folder = tmp_path_factory.mktemp("ranker")
        save_ranker(model, tokenizer, mix, folder)
        scores = score_in_one_process(folder, collection)
        np.testing.assert_allclose(scores, expected.numpy(), atol=1e-5)
        assert (folder / HEADS_MIX).exists() == (heads == 2)
