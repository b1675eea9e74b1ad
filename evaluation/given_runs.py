"""What is compared: rankers, TREC runs of other systems, and which of them is the baseline."""

from collections.abc import Iterable

from corpus.errors import InputError
from corpus.names import check_names

FIRST_STAGE = "first stage"


def check_compared(rankers: Iterable[str], runs: Iterable[str], baseline: str) -> None:
    """Refuses names that are taken twice or cannot be files, and a baseline that is none of them.

    Args:
        rankers: names of rankers.
        runs: names of TREC runs.
        baseline: the name of what the others are compared with.

    Raises:
        InputError: naming it, or there is nothing to compare.
    """
    rankers, runs = list(rankers), list(runs)
    if not rankers and not runs:
        raise InputError("give at least one: --rankers.NAME FOLDER or --runs.NAME FILE")
    both = sorted(set(rankers).intersection(runs))
    if both:
        raise InputError(f"{both[0]!r} names a ranker and a run; give one of them another name")
    check_names([*rankers, *runs], "ranker" if rankers else "run", taken=[FIRST_STAGE])
    names = [FIRST_STAGE, *rankers, *runs]
    if baseline not in names:
        raise InputError(f"the baseline {baseline!r} is none of {', '.join(names)}")
