import json
from pathlib import Path

import pytest

from corpus.errors import InputError
from rankers.mixes.encoding import HEADS_MIX, KINDS, mix_as_json, mix_of_json, read_heads_mix
from rankers.mixes.mixes import (
    ByBucket,
    Constant,
    Evidence,
    FrequencyPower,
    FrequencySigmoid,
    Mix,
    Product,
    Ramp,
    Stage,
    Staged,
)

MIXES = [
    Constant(0.3),
    Staged([Stage(0.5, 0.0), Stage(0.5, 1.0, ["high"])]),
    Ramp(start=0.1),
    ByBucket(high=0.9),
    FrequencySigmoid(midpoint=7),
    FrequencyPower(),
    Evidence(prior=3),
    Product([Ramp(), Product([Constant(0.5)])]),
]


@pytest.mark.parametrize("mix", MIXES)
def test_a_mix_comes_back_as_it_was_written(mix: Mix) -> None:
    assert mix_of_json(json.loads(json.dumps(mix_as_json(mix)))) == mix


def test_every_mix_can_be_written() -> None:
    ours = {kind for kind in Mix.__subclasses__() if kind.__module__ == Mix.__module__}
    assert {kind.__name__ for kind in ours} <= KINDS.keys()


def test_a_ranker_without_the_file_has_one_head(tmp_path: Path) -> None:
    assert read_heads_mix(tmp_path) is None


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"kind": "os.system"}', '{"kind": "Ramp", "x": 1}']
)
def test_a_file_that_holds_no_mix_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / HEADS_MIX).write_text(content)
    with pytest.raises(InputError, match=HEADS_MIX):
        read_heads_mix(tmp_path)
