"""Paired tests, worked out by hand and held against scipy's own."""

import math
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from corpus.errors import InputError
from evaluation.means import group_means
from evaluation.significance import COLUMNS, LOSES, NOT_SHOWN, WINS, compare, compare_all
from tests.evaluation.values import groups_of, values_of


def test_a_comparison_by_hand() -> None:
    values = values_of({"base": [0.5, 0.5, 0.5, 0.5], "new": [0.6, 0.8, 0.5, 0.7]})
    compared = compare(values, groups_of(all=4), "base")
    assert list(compared.columns) == COLUMNS
    [row] = compared.to_dict("records")
    # Differences .1, .3, 0, .2: mean .15, squared deviations .0025, .0225, .0225, .0025.
    spread = math.sqrt(0.05 / 3)
    assert (row["wins"], row["ties"], row["losses"], row["queries"]) == (3, 1, 0, 4)
    assert row["difference"] == pytest.approx(0.15)
    assert (row["baseline_value"], row["value"]) == pytest.approx((0.5, 0.65))
    assert row["effect_size"] == pytest.approx(0.15 / spread * (1 - 3 / 11))
    # Student's t of .15 / (spread / 2) with 3 degrees of freedom would say less than 2^-3.
    assert 2 * stats.t.sf(0.15 / (spread / 2), 3) == pytest.approx(0.1027, abs=1e-4)
    assert row["p"] == 0.125
    assert row["p_holm"] == 0.125
    assert row["verdict"] == NOT_SHOWN
    assert math.isinf(row["detectable"])  # no difference could be shown on four queries


def test_the_p_is_scipys_paired_t_test_and_near_its_randomization_test() -> None:
    rng = np.random.default_rng(0)
    base = rng.beta(4, 2, 60)
    new = np.clip(base + rng.normal(0.04, 0.12, 60), 0, 1)
    [row] = compare(
        values_of({"base": list(base), "new": list(new)}), groups_of(all=60), "base"
    ).to_dict("records")
    assert row["p"] == pytest.approx(stats.ttest_rel(new, base).pvalue)
    randomized = stats.permutation_test(
        (new - base,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=9999,
        rng=np.random.default_rng(1),
    )
    assert 0.001 < row["p"] < 0.5
    assert row["p"] == pytest.approx(randomized.pvalue, abs=0.01)


def test_the_interval_is_scipys_bootstrap_over_queries() -> None:
    rng = np.random.default_rng(0)
    base, new = rng.uniform(size=(2, 200))
    values = values_of({"base": list(base), "new": list(new)})
    [row] = compare(values, groups_of(all=200), "base").to_dict("records")
    half = 1.96 * (new - base).std(ddof=1) / math.sqrt(200)
    assert row["low"] == pytest.approx(row["difference"] - half, rel=0.15)
    assert row["high"] == pytest.approx(row["difference"] + half, abs=0.15 * half)
    means = group_means(values, groups_of(all=200)).set_index("ranker")
    interval = stats.bootstrap(
        (new,),
        np.mean,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (means.loc["new", "low"], means.loc["new", "high"]) == pytest.approx(tuple(interval))


def test_holm_corrects_over_rankers_groups_and_measures_at_once() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(size=400)
    rankers = {"base": list(base)}
    for number, gain in enumerate((0.0, 0.01, 0.02, 0.3)):
        rankers[f"r{number}"] = list(base + rng.normal(gain, 0.1, 400))
    values = pd.concat([values_of(rankers), values_of(rankers, "RR")])
    compared = compare(values, groups_of(all=400, some=100, few=20), "base")
    assert len(compared) == 4 * 3 * 2
    # Holm (1979): the k-th smallest p times (m - k + 1), never below an earlier one, at most 1.
    order = compared["p"].to_numpy().argsort(kind="stable")
    by_hand = np.empty(24)
    by_hand[order] = np.minimum(
        np.maximum.accumulate(compared["p"].to_numpy()[order] * np.arange(24, 0, -1)), 1
    )
    np.testing.assert_allclose(compared["p_holm"], by_hand)
    assert (compared["p_holm"] >= compared["p"]).all()
    assert (compared["verdict"][compared["ranker"] == "r3"] == WINS).all()
    assert (compared["verdict"][compared["ranker"] == "r0"] == NOT_SHOWN).all()
    swapped = compare(values, groups_of(all=400), "r3").set_index(["ranker", "measure"])
    assert swapped.loc[("base", "RR"), "verdict"] == LOSES


def test_what_is_detectable_is_detected_in_four_of_five_experiments() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=40)
    rankers = {"base": [0.0] * 40, "new": list(noise)}
    [row] = compare(values_of(rankers), groups_of(all=40), "base").to_dict("records")
    effect = row["detectable"] / noise.std(ddof=1)
    samples = rng.normal(effect, 1, (4000, 40))
    found = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.03)
    # Of a larger family, less is detectable.
    larger = compare(values_of(rankers | {"other": list(-noise)}), groups_of(all=40), "base")
    assert (larger["detectable"] > row["detectable"]).all()


def test_equal_rankers_and_equal_differences_prove_nothing() -> None:
    rankers = {"base": [0.1, 0.2, 0.3], "same": [0.1, 0.2, 0.3 + 1e-15], "above": [0.2, 0.3, 0.4]}
    compared = compare(values_of(rankers), groups_of(all=3), "base").set_index("ranker")
    assert compared.loc["same", "p"] == 1
    assert compared.loc["same", "p_holm"] == 1
    assert compared.loc["same", "ties"] == 3
    assert compared.loc["same", "effect_size"] == 0
    # t is infinite; of the eight ways to exchange the rankers two are as extreme.
    assert compared.loc["above", "p"] == 0.25
    assert np.isnan(compared.loc["above", "effect_size"])
    assert (compared["verdict"] == NOT_SHOWN).all()


def test_groups_without_two_queries_are_told_and_not_tested() -> None:
    groups = pd.concat(
        [groups_of(one=1, all=3), pd.DataFrame([("other", "none")], columns=["query_id", "group"])]
    )
    rankers = {"base": [0.1, 0.2, 0.3], "new": [0.2, 0.2, 0.4]}
    compared = compare(values_of(rankers), groups, "base").set_index("group")
    assert compared["queries"].to_dict() == {"one": 1, "all": 3, "none": 0}
    assert compared["p"].notna().to_dict() == {"one": False, "all": True, "none": False}
    assert compared.loc["one", "difference"] == pytest.approx(0.1)
    assert np.isnan(compared.loc["none", "value"])
    assert compared.loc[["one", "none"], ["low", "p_holm", "detectable"]].isna().all(axis=None)
    # They are not in the family either.
    assert compared["p_holm"].equals(compared["p"].rename("p_holm"))
    means = group_means(values_of(rankers), groups).set_index(["group", "ranker"])
    assert means.loc[("none", "new"), "queries"] == 0
    assert means.loc[("one", "new"), "value"] == 0.2
    assert np.isnan(means.loc[("one", "new"), "low"])


@pytest.mark.parametrize(
    ("values", "baseline", "said"),
    [
        (values_of({"a": [0.1, 0.2]}), "b", "the baseline 'b' is not among a"),
        (values_of({}), "b", "the baseline 'b' is not among no ranker"),
        (
            pd.concat([values_of({"a": [0.1, 0.2]})] * 2),
            "a",
            "the ranker 'a' has two values of nDCG@10 for the query 'q000'; give two runs",
        ),
        (values_of({"a": [0.1, 0.2], "b": [0.1]}), "a", r"ranker b has no value of .* 'q001'"),
        (
            values_of({"a": [0.1], "b": [math.inf]}),
            "a",
            r"nDCG@10 of the ranker 'b' .* is infinite",
        ),
        (values_of({"a": [math.nan], "b": [math.nan]}), "a", "no value that is a number"),
        (
            values_of({"a": [0.1] * 9, "b": [0.1] * 9}),
            "a",
            r"1 queries .* in no group, such as 'q008'",
        ),
        (
            pd.concat([values_of({"a": [0.1], "b": [0.1]}), values_of({"b": [0.1]}, "RR")]),
            "a",
            "the baseline 'a' has no value of RR",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(values: pd.DataFrame, baseline: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        compare(values, groups_of(all=8), baseline)


def test_a_measure_that_a_ranker_lacks_is_compared_without_it() -> None:
    first = values_of({"a": [0.1, 0.4], "b": [0.2, 0.3], "c": [0.2, 0.2]})
    compared = compare(
        pd.concat([first, values_of({"a": [1.0, 0.5], "c": [1.0, 1.0]}, "traffic")]),
        groups_of(all=2),
        "a",
    )
    assert list(zip(compared["measure"], compared["ranker"], strict=True)) == [
        ("nDCG@10", "b"),
        ("nDCG@10", "c"),
        ("traffic", "c"),
    ]


def test_each_pair_of_rankers_is_tested_once_and_told_from_both_sides() -> None:
    rng = np.random.default_rng(0)
    rankers = {
        name: list(rng.uniform(size=50) + gain)
        for name, gain in zip("abc", (0, 0, 0.5), strict=True)
    }
    duels = compare_all(values_of(rankers), groups_of(all=50)).set_index(["ranker", "baseline"])
    rows = dict(zip(duels.index, duels.to_dict("records"), strict=True))
    assert len(rows) == 6
    for first, second in ("ab", "ac", "bc"):
        there, back = rows[first, second], rows[second, first]
        assert there["p_holm"] == back["p_holm"]
        assert (there["wins"], there["losses"]) == (back["losses"], back["wins"])
        assert (there["low"], there["high"]) == (-back["high"], -back["low"])
        assert there["value"] == back["baseline_value"]
    assert rows["c", "a"]["verdict"] == WINS
    assert rows["a", "c"]["verdict"] == LOSES
    one = compare(values_of(rankers), groups_of(all=50), "a").set_index("ranker")
    assert rows["c", "a"]["p"] == pytest.approx(one.loc["c", "p"])
    # Holm's factor is at most the number of pairs, not of rows.
    assert duels["p_holm"].min() == pytest.approx(min(1, 3 * duels["p"].min()))


@settings(max_examples=10)
@given(
    st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 3), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_properties_of_any_comparison(rows: list[tuple[float, ...]], random: Random) -> None:
    values = values_of(dict(zip("abc", map(list, zip(*rows, strict=True)), strict=True)))
    groups = groups_of(all=12, half=6)
    compared = compare(values, groups, "a")
    tested = compared[compared["p"].notna()]
    assert tested["p"].between(0, 1).all()
    assert tested["p_holm"].between(0, 1).all()
    assert (tested["p_holm"] >= tested["p"]).all()
    ordered = tested.sort_values("p")["p_holm"]
    assert ordered.is_monotonic_increasing
    assert (compared[["wins", "ties", "losses"]].sum(axis=1) == compared["queries"]).all()
    assert (tested["low"] <= tested["difference"] + 1e-9).all()
    assert (tested["high"] >= tested["difference"] - 1e-9).all()
    shuffled = list(range(len(values)))
    random.shuffle(shuffled)
    again = compare(values.iloc[shuffled], groups.sample(frac=1, random_state=0), "a")
    keys = ["measure", "group", "ranker"]
    pd.testing.assert_frame_equal(
        *(frame.sort_values(keys, ignore_index=True) for frame in (compared, again))
    )


def test_ten_rankers_on_a_thousand_queries_take_seconds() -> None:
    """Not a bound on time: a shape that a loop over queries or tests would be lost on."""
    rng = np.random.default_rng(0)
    ids = pd.Index([f"q{number}" for number in range(1000)])
    blocks = [
        pd.DataFrame(
            {
                "ranker": f"r{r}",
                "query_id": ids,
                "measure": f"m{m}",
                "value": rng.uniform(size=1000),
            }
        )
        for r in range(10)
        for m in range(2)
    ]
    groups = pd.concat(
        [
            pd.DataFrame({"query_id": ids, "group": group})
            for group in (rng.choice(["high", "medium", "low"], 1000), "all")
        ]
    )
    compared = compare(pd.concat(blocks), groups, "r0")
    assert len(compared) == 9 * 2 * 4
    assert (compared["verdict"] == NOT_SHOWN).all()
