"""The settings that a study of sensitivity changes, and the worlds and judges that they give."""

from dataclasses import dataclass, field, replace

from corpus.errors import InputError
from corpus.simulation.traffic import SEARCHES_PER_QUERY
from corpus.sources import SimulatedWorld
from workflow.cases import DEFAULT, Case
from workflow.conditions import Condition
from workflow.simulated_annotations import DEMO_JUDGE_ERROR

OF_CLICKS = ("click_noise", "position_bias")
OF_JUDGE = {"judge_error": "error", "share_annotated": "share"}  # attributes of SimulatedJudge


@dataclass(frozen=True)
class Levels:
    """What each setting is changed to, one at a time; an empty list leaves a setting as it is.

    Attributes:
        searches_per_query: searches in the log for each distinct query, on average, at least 1.
        click_noise: probability of a click on an examined document of grade 0, 0 to 1.
        judge_error: share of pairs whose grade the judge gets wrong, 0 to below 0.5.
        share_annotated: share of the training queries whose pairs are annotated, above 0 to 1.
        position_bias: position k is examined with probability k ** -position_bias; at least 0.
    """

    searches_per_query: list[float] = field(default_factory=lambda: [2.0, 16.0, 64.0])
    click_noise: list[float] = field(default_factory=lambda: [0.0, 0.3, 0.5])
    judge_error: list[float] = field(default_factory=lambda: [0.15, 0.3, 0.45])
    share_annotated: list[float] = field(default_factory=lambda: [0.03, 0.1, 0.3])
    position_bias: list[float] = field(default_factory=lambda: [0.0, 0.5, 2.0])


def levels_of(levels: Levels, world: SimulatedWorld) -> dict[str, dict[float, str]]:
    """The levels of each setting that changes, ascending, the default world's among them.

    Args:
        levels: what settings are changed to.
        world: the default world.

    Returns:
        For each setting, its levels and for each of these the name of its case; `DEFAULT` is the
        case of the default world, which all settings share.
    """
    default = {
        "searches_per_query": SEARCHES_PER_QUERY
        if world.sessions is None
        else world.sessions / world.queries,
        "click_noise": world.click_noise,
        "judge_error": DEMO_JUDGE_ERROR,
        "share_annotated": 1.0,
        "position_bias": world.position_bias,
    }
    return {
        setting: {
            level: DEFAULT if level == default[setting] else f"{setting}_{level}"
            for level in sorted({float(default[setting]), *map(float, given)})
        }
        for setting, given in vars(levels).items()
        if given
    }


def cases_of(lines: dict[str, dict[float, str]], default: Case) -> dict[str, Case]:
    """Each case by its name, the default world's first.

    Args:
        lines: from `levels_of`.
        default: the case of the default world.

    Raises:
        InputError: a level that cannot be.
    """
    cases = {DEFAULT: default}
    for setting, named in lines.items():
        for level, name in named.items():
            if name != DEFAULT:
                cases[name] = _change(default, setting, level)
    return cases


def own_rankers(
    lines: dict[str, dict[float, str]], conditions: dict[str, Condition]
) -> dict[str, list[str]]:
    """The conditions whose rankers each case trains itself.

    A case differs from the default world's in one setting. A ranker that learns nothing of what the
    setting changes is the default world's, which is not trained again.

    Args:
        lines: from `levels_of`.
        conditions: the ways to train, by name.
    """
    own = {DEFAULT: list(conditions)}
    for setting, named in lines.items():
        touched = [name for name, how in conditions.items() if _is_touched(setting, how)]
        own |= {name: touched for name in named.values() if name != DEFAULT}
    return own


def _is_touched(setting: str, condition: Condition) -> bool:
    if setting in OF_CLICKS:
        return condition.learns_from_clicks
    return setting not in OF_JUDGE or condition.depends_on_judge


def _change(case: Case, setting: str, level: float) -> Case:
    if setting in OF_JUDGE:
        judge = replace(case.judge, **{OF_JUDGE[setting]: level})  # type: ignore[arg-type]
        try:
            judge.check()
        except InputError as error:
            raise InputError(f"levels.{setting}: {error}") from error
        return replace(case, judge=judge)
    if setting == "searches_per_query":
        if not 1 <= level < float("inf"):
            raise InputError(f"levels.{setting} must be at least 1, not {level}")
        changed = replace(case.world, sessions=round(level * case.world.queries))
    else:
        changed = replace(case.world, **{setting: level})  # type: ignore[arg-type]
    changed.check()
    return replace(case, world=changed)
