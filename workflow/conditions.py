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

ClickSide = Literal["clicks", "shrunk", "fusion"]
CLICK, ANNOTATION, FAMOL, FUSION = "click", "annotation", "famol", "fusion"


@dataclass(frozen=True)
class Condition:
    """One way to train a ranker on clicks and annotations.

    Attributes:
        mix: how much clicks count against annotations.
        labels: what the click side learns: "clicks", clicks weighted by inverse propensity;
            "shrunk", the posterior of a click model, see `labels_beside_annotations`; or "fusion",
            the posterior of a click model whose prior is the judge's grade.
    """

    mix: Mix
    labels: ClickSide = "clicks"

    @property
    def learns_from_clicks(self) -> bool:
        """Whether any label of clicks, fused ones among them, is learned."""
        return self.mix != Constant(0.0)

    @property
    def learns_from_annotations(self) -> bool:
        """Whether annotations are learned themselves."""
        return self.mix != Constant(1.0)

    @property
    def depends_on_judge(self) -> bool:
        """Whether annotations decide what is learned, if only by the labels of clicks."""
        return self.learns_from_annotations or self.labels != "clicks"


def headline_conditions() -> dict[str, Condition]:
    """Each signal alone, data scheduling in both orders, FAMOL, and fusion.

    The conditions of the paper (arXiv 2511.06635, sections 3 and 4): data scheduling is `Staged`
    and `Ramp`, FAMOL the mixes that go by frequency. `both, one half` has the same weight for all
    queries, which shows whether going by frequency helps. Fusion is Tandem's own (docs/fusion.md).
    """
    mixes: dict[str, Mix] = {
        CLICK: Constant(1.0),
        ANNOTATION: Constant(0.0),
        "one half": Constant(0.5),
        "annotation then click": Staged(),
        "click then annotation": Staged([Stage(0.5, 1.0), Stage(0.5, 0.0)]),
        "ramp to click": Ramp("linear", 0.0, 1.0),
        "ramp to annotation": Ramp("linear", 1.0, 0.0),
        "staged by frequency": Staged([Stage(0.5, 0.0), Stage(0.5, 1.0, ["high"])]),
        FAMOL: FrequencySigmoid(),
        "famol by bucket": ByBucket(),
        "famol by evidence": Evidence(20.0),
    }
    return {
        **{name: Condition(mix, labels_beside_annotations(mix)) for name, mix in mixes.items()},
        "famol weighted clicks": Condition(FrequencySigmoid(), "clicks"),
        FUSION: Condition(Constant(1.0), "fusion"),
        "fusion in famol": Condition(FrequencySigmoid(), "fusion"),
    }


def labels_beside_annotations(mix: Mix) -> ClickSide:
    """The labels of clicks that serve a mix best: "clicks" or "shrunk".

    Clicks that are learned from alone, if only for a stage of training, have to tell the documents
    of a list apart by themselves: clicks weighted by inverse propensity do, with a noise that many
    queries average out. Beside annotations that noise costs more than it brings. The posterior of a
    click model whose prior is learned from the log has little of it. On a sparse log it tells above
    all which documents are clicked wherever they are shown, which is what annotations miss
    (docs/reproduce.md has the numbers).
    """
    stages = mix.stages if isinstance(mix, Staged) else []
    alone = mix == Constant(1.0) or any(stage.click_weight == 1 for stage in stages)
    return "clicks" if alone else "shrunk"


def some_conditions(*names: str) -> dict[str, Condition]:
    """The headline conditions of these names, in their order there."""
    return {name: how for name, how in headline_conditions().items() if name in names}
