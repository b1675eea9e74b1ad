import json
import math
from pathlib import Path

import pytest

from corpus.errors import InputError
from rankers.mixes import (
    ByBucket,
    Constant,
    Evidence,
    FrequencyPower,
    FrequencySigmoid,
    Mix,
    Piecewise,
    Product,
    Ramp,
    Stage,
    Staged,
)
from rankers.mixes.encoding import HEADS_MIX, MIXES, decode_mix, encode_mix, read_heads_mix
from rankers.mixes.pictures import PICTURES

EXAMPLES = [
    Constant(0.3),
    Staged([Stage(0.5, 0.0), Stage(0.5, 1.0, ["high"])]),
    Ramp(start=0.1),
    ByBucket(high=0.9),
    FrequencySigmoid(midpoint=7),
    FrequencyPower(),
    Evidence(prior=3),
    Product([Ramp(), Product([Constant(0.5)])]),
    Piecewise([Constant(0.0), Product([Constant(0.5), ByBucket()])], [1 / 3]),
]


@pytest.mark.parametrize("mix", EXAMPLES)
def test_a_mix_comes_back_as_it_was_written(mix: Mix) -> None:
    assert decode_mix(json.loads(json.dumps(encode_mix(mix)))) == mix


def test_every_mix_can_be_written() -> None:
    ours = {kind for kind in Mix.__subclasses__() if kind.__module__.startswith("rankers.")}
    assert {kind.__name__: kind for kind in ours} == MIXES
    assert {type(mix) for mix in EXAMPLES} == ours


def test_every_mix_has_a_picture() -> None:
    assert {type(mix) for mix in PICTURES.values()} == set(MIXES.values())


def test_the_form_by_hand() -> None:
    assert encode_mix(Staged([Stage(0.5, 0.0), Stage(0.5, 1.0, ["high"])])) == {
        "class_path": "Staged",
        "init_args": {
            "stages": [
                {"share": 0.5, "click_weight": 0.0, "buckets": ["high", "medium", "low"]},
                {"share": 0.5, "click_weight": 1.0, "buckets": ["high"]},
            ]
        },
    }


def test_a_ranker_without_the_file_has_one_head(tmp_path: Path) -> None:
    assert read_heads_mix(tmp_path) is None


def of(class_path: object, **init_args: object) -> str:
    return json.dumps({"class_path": class_path, "init_args": init_args})


DEEP = '{"class_path": "Product", "init_args": {"mixes": ['


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "holds no mix"),
        ("{}", "class_path and its init_args"),
        ("null", "class_path and its init_args"),
        ('["Constant"]', "class_path and its init_args"),
        ('{"class_path": "Constant"}', "class_path and its init_args"),
        ('{"kind": "Constant", "click_weight": 0.5}', "class_path and its init_args"),
        (of("Constant")[:-1] + ', "dict_kwargs": {}}', "class_path and its init_args"),
        (of("os.system", command="touch done"), "there is no mix 'os.system'"),
        (of("rankers.mixes.Constant"), "there is no mix 'rankers.mixes.Constant'"),
        (of("Mix"), "there is no mix 'Mix'"),
        (of("Stage", share=1.0, click_weight=1.0), "there is no mix 'Stage'"),
        (of(["Constant"]), "cannot be made"),
        ('{"class_path": "Constant", "init_args": [1]}', "cannot be made"),
        (of("Ramp", x=1), "unexpected keyword argument 'x'"),
        (of("Ramp", shape="step"), "linear or cosine, not 'step'"),
        (of("Constant", click_weight="0.5"), "cannot be made"),
        (of("Constant", click_weight=None), "cannot be made"),
        (of("Constant", click_weight=math.nan), "between 0 and 1"),
        (of("FrequencySigmoid", steepness=math.inf), "above 0 and finite"),
        (of("FrequencyPower", saturation=10**400), "above 0 and finite"),
        (of("Staged", stages=3), "cannot be made"),
        (of("Staged", stages=[3]), "cannot be made"),
        (of("Staged", stages=[{"share": 1.0}]), "cannot be made"),
        (of("Staged", stages=[]), "must sum to 1"),
        (of("Staged", stages=[json.loads(of("Constant"))]), "cannot be made"),
        (of("Staged", stages=[{"share": 1, "click_weight": 1, "buckets": [["high"]]}]), "made"),
        (of("Product"), "cannot be made"),
        (of("Product", mixes={}), "at least one mix"),
        (of("Product", mixes=[{"share": 1.0, "click_weight": 1.0}]), "class_path"),
        (of("Product", mixes=[json.loads(of("os.system"))]), "there is no mix 'os.system'"),
        (DEEP * 200 + "1" + "]}}" * 200, "holds no mix"),
        (DEEP * 5_000 + "1" + "]}}" * 5_000, "holds no mix"),
    ],
)
def test_a_file_that_holds_no_mix_is_named(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / HEADS_MIX).write_text(content)
    with pytest.raises(InputError, match=HEADS_MIX) as refused:
        read_heads_mix(tmp_path)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
