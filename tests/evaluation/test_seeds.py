"""What a comparison makes of rankers that were trained more than once."""

import numpy as np
import pandas as pd
import pytest

from corpus.errors import InputError
from evaluation.significance import compare
from tests.evaluation.values import IDS, groups_of, values_of


def test_each_seed_may_have_test_queries_of_its_own() -> None:
    """As logs of one collection have, of which each is parted by itself."""
    rng = np.random.default_rng(2)
    first, second = rng.uniform(size=(2, 2, 30))
    of_seeds = [
        values_of({"new": list(new), "base": list(base)}).assign(seed=seed)
        for seed, (new, base) in enumerate((first, second))
    ]
    kept = [of_seeds[0], of_seeds[1][of_seeds[1]["query_id"] != IDS[29]]]
    both = pd.concat(kept)
    new, base = (first + second) / 2
    new[29], base[29] = first[:, 29]
    found = compare(both, groups_of(all=30), "base")
    expected = compare(values_of({"new": list(new), "base": list(base)}), groups_of(all=30), "base")
    pd.testing.assert_frame_equal(found, expected)
    lacks = both[~((both["seed"] == 1) & (both["query_id"] == IDS[3]) & (both["ranker"] == "new"))]
    with pytest.raises(InputError, match=r"ranker new, seed 1 has no value of .* 'q003'"):
        compare(lacks, groups_of(all=30), "base")


def test_seeds_are_averaged_within_a_query_before_anything_else() -> None:
    rng = np.random.default_rng(0)
    seeds = [rng.uniform(size=30) for _ in range(3)]
    several = pd.concat(
        [values_of({"new": list(values)}).assign(seed=seed) for seed, values in enumerate(seeds)]
        + [values_of({"base": [0.4] * 30}).assign(seed=7)]
    )
    one = values_of({"new": list(np.mean(seeds, axis=0)), "base": [0.4] * 30})
    pd.testing.assert_frame_equal(
        compare(several, groups_of(all=30), "base"), compare(one, groups_of(all=30), "base")
    )
    with pytest.raises(InputError, match=r"ranker new, seed 2 has no value of .* 'q029'"):
        compare(
            several[~((several["seed"] == 2) & (several["query_id"] == IDS[29]))],
            groups_of(all=30),
            "base",
        )
