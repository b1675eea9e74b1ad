import gzip
import math
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from corpus.tables import Collection
from evaluation.graded_measures import dcg, err
from evaluation.measures import (
    JUDGED,
    MEASURES,
    candidate_gains,
    mean_by_bucket,
    measure_run,
    query_buckets,
    telling_queries,
    unranked_queries,
)
from evaluation.trec_writing import write_trec_qrels, write_trec_run


def _run(scores: dict[str, list[float]]) -> pd.DataFrame:
    rows = [(q, f"d{i}", score) for q, listed in scores.items() for i, score in enumerate(listed)]
    return pd.DataFrame(rows, columns=["query_id", "doc_id", "score"])


def _judgments(grades: dict[str, list[int]]) -> pa.Table:
    rows = [(q, f"d{i}", grade) for q, listed in grades.items() for i, grade in enumerate(listed)]
    return pa.Table.from_pandas(pd.DataFrame(rows, columns=["query_id", "doc_id", "grade"]))


def _value(values: pd.DataFrame, measure: str) -> float:
    return float(values["value"][values["measure"] == measure].item())


def test_measures_by_hand() -> None:
    values = measure_run(_run({"q": [1.0, 3.0, 2.0]}), _judgments({"q": [3, 0, 1]}))
    ideal = 3 + 1 / math.log2(3)
    assert _value(values, "nDCG@1") == 0
    assert _value(values, "nDCG@10") == pytest.approx((1 / math.log2(3) + 3 / 2) / ideal)
    assert _value(values, "RR") == 0.5
    assert _value(values, "AP") == pytest.approx((1 / 2 + 2 / 3) / 2)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(-1000, 1000)),
        min_size=2,
        max_size=12,
        unique_by=lambda pair: pair[1],
    )
)
def test_ndcg_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    grades, scores = zip(*pairs, strict=True)
    values = measure_run(_run({"q": list(map(float, scores))}), _judgments({"q": list(grades)}))
    if not any(grades):
        assert values.empty
        return
    expected = ndcg_score(np.array([grades]), np.array([scores]), k=10)
    assert _value(values, "nDCG@10") == pytest.approx(expected)


def test_means_are_over_the_queries_of_each_bucket() -> None:
    run = _run({"head": [2.0, 1.0], "tail": [1.0, 2.0], "unanswerable": [1.0, 2.0]})
    judgments = _judgments({"head": [1, 0], "tail": [1, 0], "unanswerable": [0, 0]})
    buckets = pd.Series({"head": "high", "tail": "low", "unanswerable": "low"})
    means = mean_by_bucket(measure_run(run, judgments), buckets)
    shown = means[means["measure"] == "nDCG@1"].set_index("bucket")
    assert shown["value"].to_dict() == {"high": 1.0, "low": 0.0, "all": 0.5}
    assert shown["queries"].to_dict() == {"high": 1, "low": 1, "all": 2}


def test_buckets_are_those_of_the_splits(tiny_collection: Collection) -> None:
    assert query_buckets(tiny_collection).to_dict() == {"q1": "medium", "q2": "low", "q3": "low"}


TREC_EVAL = Path(__file__).parent / "trec_eval"
# Of queries 301, 302 and 303, from trec_eval's own test/out.test.aq.
PUBLISHED = {
    "AP": [0.0324, 0.4175, 0.0858],
    "RR": [0.1667, 1.0000, 0.0526],
    "nDCG@1": [0.0, 1.0, 0.0],
    "nDCG@5": [0.0, 0.8304, 0.0],
    "nDCG@10": [0.1518, 0.7530, 0.0],
}


def test_trec_evals_own_run_has_its_published_values() -> None:
    def read(name: str, columns: list[str]) -> pd.DataFrame:
        with gzip.open(TREC_EVAL / f"{name}.test.gz", "rt") as file:
            rows = [line.split() for line in file]
        frame = pd.DataFrame(rows)[[0, 2, len(columns)]]
        frame.columns = pd.Index(["query_id", "doc_id", columns[-1]])
        return frame

    run = read("results", ["q0", "doc_id", "rank", "score"]).astype({"score": float})
    qrels = read("qrels", ["q0", "doc_id", "grade"]).astype({"grade": int})
    assert run.duplicated(["query_id", "score"]).any()
    values = measure_run(run, pa.Table.from_pandas(qrels, preserve_index=False))
    by_query = values.pivot_table("value", "measure", "query_id")
    for measure, published in PUBLISHED.items():
        np.testing.assert_allclose(by_query.loc[measure], published, atol=5e-5)


def test_two_hundred_random_runs_have_the_values_of_trec_eval() -> None:
    """With ties, unjudged documents, junk, queries that the run misses and that nobody judged."""
    rng = np.random.default_rng(0)
    names = ["ndcg_cut_1", "ndcg_cut_3", "ndcg_cut_5", "ndcg_cut_10", "recip_rank", "map"]
    ours = ["nDCG@1", "nDCG@3", "nDCG@5", "nDCG@10", "RR", "AP"]
    pairs = pd.DataFrame(
        [(f"q{q}", f"{n}", f"d{d}") for n in range(200) for q in range(6) for d in range(14)],
        columns=["query", "run", "doc_id"],
    )
    # One call measures the queries of all runs.
    pairs["query_id"] = pairs["query"] + " of run " + pairs["run"]
    run = pairs[(pairs["query"] != "q0") & (rng.uniform(size=len(pairs)) < 0.8)]
    run = run.assign(score=rng.integers(0, 5, len(run)) / 3).sample(frac=1, random_state=0)
    qrels = pairs[(pairs["query"] != "q1") & (rng.uniform(size=len(pairs)) < 0.5)]
    qrels = qrels.assign(grade=rng.integers(-1, 4, len(qrels)))
    graded, scored = (
        {
            query_id: dict(zip(rows["doc_id"], rows[value], strict=True))
            for query_id, rows in frame.groupby("query_id")
        }
        for frame, value in ((qrels, "grade"), (run, "score"))
    )
    expected = pytrec_eval.RelevanceEvaluator(graded, set(names)).evaluate(scored)
    judgments = pa.Table.from_pandas(qrels[["query_id", "doc_id", "grade"]], preserve_index=False)
    table = measure_run(run, judgments).pivot_table("value", "query_id", "measure")
    answerable = set(qrels["query_id"][qrels["grade"] > 0])
    assert set(table.index) == answerable & expected.keys()
    assert len(table) > 700
    told = [[expected[query_id][name] for name in names] for query_id in table.index]
    np.testing.assert_allclose(table[ours], told, atol=1e-4)


def test_queries_that_count_count_0_where_the_run_misses_them() -> None:
    run = _run({"found": [2.0, 1.0], "stranger": [1.0]})
    judgments = _judgments({"found": [0, 2], "missed": [1], "hopeless": [0]})
    counting = ["found", "missed", "hopeless", "unjudged"]
    assert set(measure_run(run, judgments)["query_id"]) == {"found"}
    values = measure_run(run, judgments, counting)
    table = values.pivot_table("value", "query_id", "measure")
    assert list(table.index) == ["found", "missed"]
    assert table.loc["missed"].to_dict() == dict.fromkeys(table.columns, 0.0)
    assert table.loc["found", "RR"] == 0.5
    assert table.notna().all(axis=None)
    assert unranked_queries(run, judgments, counting) == ["missed"]
    # Also where it misses all.
    nothing = measure_run(run.iloc[2:], judgments, counting)
    assert (nothing["value"] == 0).all()
    assert len(nothing) == len(values)


def test_judged_is_the_share_of_the_first_ten_that_have_a_grade() -> None:
    run = _run({"q": [float(-rank) for rank in range(12)], "short": [2.0, 1.0]})
    judgments = _judgments({"q": [0, 1, 2], "short": [1]})
    values = measure_run(run, judgments)
    judged = values[values["measure"] == JUDGED].set_index("query_id")["value"]
    assert judged.to_dict() == {"q": 0.3, "short": 0.5}


def test_dcg_and_err_of_baidu_ultr_by_hand() -> None:
    run, judgments = _run({"q": [3.0, 2.0, 1.0, 0.0]}), _judgments({"q": [2, 0, 4, -2]})
    values = measure_run(run, judgments)
    assert _value(values, "DCG@1") == 3
    assert _value(values, "DCG@10") == pytest.approx(3 + 15 / 2)
    # 3/16 stop at the first; of the others, 15/16 at the third.
    assert _value(values, "ERR@10") == pytest.approx(3 / 16 + 13 / 16 * 15 / 16 / 3)
    # On a scale up to 5, each grade promises half as much.
    further = pa.concat_tables([judgments, _judgments({"elsewhere": [5]})])
    assert _value(measure_run(run, further), "ERR@10") == pytest.approx(
        3 / 32 + 29 / 32 * 15 / 32 / 3
    )


@given(st.lists(st.integers(0, 4), min_size=1, max_size=14), st.integers(1, 10))
def test_dcg_and_err_are_their_sums(grades: list[int], depth: int) -> None:
    found = np.array([grades], dtype=float)
    ranks = list(enumerate(grades[:depth], start=1))
    sums = sum((2**grade - 1) / math.log2(rank + 1) for rank, grade in ranks)
    assert dcg(found, depth).item() == pytest.approx(sums)
    expected, going_on = 0.0, 1.0
    for rank, grade in ranks:
        expected += going_on * (2**grade - 1) / 16 / rank
        going_on *= 1 - (2**grade - 1) / 16
    assert err(found, depth).item() == pytest.approx(expected)


def test_what_is_measured_is_what_the_written_run_says(tmp_path: Path) -> None:
    """Ties, also those of float32, and ids that are written otherwise than they are."""
    rng = np.random.default_rng(0)
    ids = ["a b", "a!b", "a%b", "ab", "é", "问", "z", "Z", "0", "10"]
    pairs = [(query, document) for query in ["q", "a query", "50%"] for document in ids]
    run = pd.DataFrame(pairs, columns=["query_id", "doc_id"])
    run["score"] = rng.integers(0, 3, len(run)) + rng.choice([0, 1e-12], len(run))
    qrels = pd.DataFrame(pairs, columns=["query_id", "doc_id"])
    qrels["grade"] = rng.integers(0, 4, len(run))
    judgments = pa.Table.from_pandas(qrels.sample(frac=0.8, random_state=0), preserve_index=False)
    values = measure_run(run, judgments)
    assert values["value"].nunique() > 10
    # In whatever order the documents come.
    shuffled = measure_run(run.sample(frac=1, random_state=1), judgments)
    keys = ["query_id", "measure"]
    pd.testing.assert_frame_equal(
        *(frame.sort_values(keys, ignore_index=True) for frame in (values, shuffled))
    )
    write_trec_run(run, tmp_path / "run.trec", "tied")
    write_trec_qrels(judgments, tmp_path / "qrels.trec")
    read = ir_measures.iter_calc(
        MEASURES,
        list(ir_measures.read_trec_qrels(str(tmp_path / "qrels.trec"))),
        list(ir_measures.read_trec_run(str(tmp_path / "run.trec"))),
    )
    written = {"a query": "a%20query", "50%": "50%25", "q": "q"}
    told = {
        (written[row.query_id], row.measure): row.value
        for row in values.itertuples()
        if not row.measure.startswith(("DCG", "ERR"))
    }
    assert {(one.query_id, str(one.measure)): one.value for one in read} == pytest.approx(told)


def test_queries_whose_documents_differ_in_grade_tell_rankings_apart() -> None:
    run = _run(
        {
            "one": [2.0],
            "equal": [2.0, 1.0],
            "unjudged": [2.0, 1.0],
            "junk": [2.0, 1.0],
            "told": [2.0, 1.0, 0.0],
        }
    )
    grades = {"one": [3], "equal": [2, 2], "junk": [-2, 0], "told": [0, 1], "elsewhere": [0, 1]}
    judgments = _judgments(grades)
    assert telling_queries(candidate_gains(run, judgments)).tolist() == ["told"]
    # Of what tells nothing apart, nothing below 1 is measured either.
    assert "junk" not in set(measure_run(run, judgments)["query_id"])
