"""What a study of ablations changes, one thing at a time, and the cases that it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from annotation.prompts.prompt import StrategyName
from corpus.errors import InputError
from rankers.mixes import Constant
from rankers.settings import AnnotationLabel, QueryWeight
from workflow.cases import Case
from workflow.conditions import Condition
from workflow.simulated_annotations import Spending


@dataclass(frozen=True)
class Ablations:
    """What is changed, one thing at a time; an empty list leaves it as it is.

    Attributes:
        strategy: in the form of which strategy the judge answers: pointwise, listwise, selection
            or ranking.
        policy: what a share of the annotations is spent on: all pairs of queries drawn at random
            (random_queries), or a policy of `annotate`: tail, uniform, fewest_impressions or
            widest_posterior. Each is tried with each of `shares`.
        shares: of the pairs, above 0 and below 1.
        heads: one head that both signals train (shared), or one for each (two).
        query_weight: how much a query weighs in the click loss: query, square_root or session.
        balance_losses: whether the loss of each signal is divided by its running mean.
        annotation_label: what is learned from annotations: grade, expected_grade or
            confident_grade.
    """

    strategy: list[StrategyName] = field(
        default_factory=lambda: ["listwise", "selection", "ranking"]
    )
    policy: list[Spending] = field(
        default_factory=lambda: ["random_queries", "tail", "uniform", "widest_posterior"]
    )
    shares: list[float] = field(default_factory=lambda: [0.1, 0.3])
    heads: list[Literal["shared", "two"]] = field(default_factory=lambda: ["two"])
    query_weight: list[QueryWeight] = field(default_factory=lambda: ["square_root", "session"])
    balance_losses: list[bool] = field(default_factory=lambda: [True])
    annotation_label: list[AnnotationLabel] = field(
        default_factory=lambda: ["grade", "confident_grade"]
    )


@dataclass(frozen=True)
class Change:
    """One thing that differs from the default case.

    Attributes:
        setting: what is changed, in words.
        level: what it is changed to.
        share: of the pairs, how many are annotated.
        case: the default case with this change.
        touches: whether it changes the ranker of a condition.
    """

    setting: str
    level: str
    share: float
    case: Case
    touches: Callable[[Condition], bool]


def changes_of(ablations: Ablations, default: Case) -> dict[str, Change]:
    """Each change by the name of its case; what the default case has already is left out.

    Args:
        ablations: what is changed.
        default: the case around which it is.

    Raises:
        InputError: a share that cannot be.
    """
    changes: dict[str, Change] = {}

    def add(setting: str, level: object, case: Case, touches: Callable[[Condition], bool]) -> None:
        share = case.judge.share
        spent = f"_{share:g}" if setting == "policy" else ""
        if case != default:
            words = str(level).replace("_", " ").lower()
            changes[f"{setting}_{level}{spent}"] = Change(
                setting.replace("_", " "), words, share, case, touches
            )

    for strategy in ablations.strategy:
        judge = replace(default.judge, strategy=strategy)
        add("strategy", strategy, replace(default, judge=judge), _depends_on_judge)
    for policy in ablations.policy:
        for share in sorted(ablations.shares):
            if not 0 < share < 1:
                raise InputError(f"ablations.shares are above 0 and below 1, not {share}")
            judge = replace(default.judge, policy=policy, share=share)
            add("policy", policy, replace(default, judge=judge), _depends_on_judge)
    for group, setting, touches in OF_TRAINING:
        for level in getattr(ablations, setting):
            changed = replace(getattr(default.training, group), **{setting: level})
            training = replace(default.training, **{group: changed})
            add(setting, level, replace(default, training=training), touches)
    return changes


def _depends_on_judge(condition: Condition) -> bool:
    return condition.depends_on_judge


def _has_both_signals(condition: Condition) -> bool:
    return condition.mix not in (Constant(0.0), Constant(1.0))


# The group of each setting of training, its name, and what it touches.
OF_TRAINING: tuple[tuple[str, str, Callable[[Condition], bool]], ...] = (
    ("model", "heads", _has_both_signals),
    ("objective", "query_weight", lambda condition: condition.learns_from_clicks),
    ("objective", "balance_losses", _has_both_signals),
    ("objective", "annotation_label", lambda condition: condition.learns_from_annotations),
)
