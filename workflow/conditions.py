"""What `reproduce` compares: each condition's mix of signals, and its labels of clicks."""

from dataclasses import dataclass
from typing import Literal

from rankers.mixes import (
    ByBucket,
    Constant,
    Evidence,
    FrequencySigmoid,
    Mix,
    Ramp,
    Stage,
    Staged,
)

ClickSide = Literal["clicks", "fusion"]
CLICK, ANNOTATION, FAMOL, FUSION = "click", "annotation", "famol", "fusion"


@dataclass(frozen=True)
class Condition:
    """One way to train a ranker on clicks and annotations.

    Attributes:
        mix: how much clicks count against annotations.
        labels: what the click side learns: "clicks", labels from clicks alone, or "fusion", the
            posterior of a click model whose prior is the judge's grade.
    """

    mix: Mix
    labels: ClickSide = "clicks"


def headline_conditions() -> dict[str, Condition]:
    """Each signal alone, data scheduling in both orders, FAMOL, and fusion.

    The conditions of the paper (arXiv 2511.06635, sections 3 and 4): data scheduling is `Staged`
    and `Ramp`, FAMOL the mixes that go by frequency. `both, one half` has the same weight for all
    queries, which shows whether going by frequency helps. Fusion is Tandem's own (docs/fusion.md).
    """
    return {
        CLICK: Condition(Constant(1.0)),
        ANNOTATION: Condition(Constant(0.0)),
        "one half": Condition(Constant(0.5)),
        "annotation then click": Condition(Staged()),
        "click then annotation": Condition(Staged([Stage(0.5, 1.0), Stage(0.5, 0.0)])),
        "ramp to click": Condition(Ramp("linear", 0.0, 1.0)),
        "ramp to annotation": Condition(Ramp("linear", 1.0, 0.0)),
        "staged by frequency": Condition(Staged([Stage(0.5, 0.0), Stage(0.5, 1.0, ["high"])])),
        FAMOL: Condition(FrequencySigmoid()),
        "famol by bucket": Condition(ByBucket()),
        "famol by evidence": Condition(Evidence()),
        FUSION: Condition(Constant(1.0), "fusion"),
        "fusion in famol": Condition(FrequencySigmoid(), "fusion"),
    }
