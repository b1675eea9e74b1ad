"""Work on the pieces of a log: here, or beside each other by tasks of a cluster that was joined."""

import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from corpus.errors import InputError

Result = TypeVar("Result")


def call_each(
    work: Callable[..., Result],
    common: Any,
    calls: Sequence[tuple[Any, ...]],
    few: int,
    repeatable: bool = True,
) -> Generator[Result, None, None]:
    """Calls a function for each piece; yields what it returns, in their order.

    What is not done yet is called off when the generator is closed.

    Args:
        work: what is called with `common` and the arguments of a call.
        common: what all calls share, which is sent to the workers once.
        calls: further arguments of each call.
        few: so many calls, or fewer, are made here; tasks are not worth their beginning for them.
        repeatable: whether Ray may make a call again whose process it has lost.

    Raises:
        InputError: the function has raised it.
    """
    ray = sys.modules.get("ray")
    if len(calls) <= few or ray is None or not ray.is_initialized():
        for call in calls:
            yield work(common, *call)
        return
    task = ray.remote(max_retries=3 if repeatable else 0)(work)
    given = ray.put(common)
    waiting = [task.remote(given, *call) for call in calls]
    try:
        while waiting:
            yield ray.get(waiting[0])
            del waiting[0]
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from error
        raise
    finally:
        for left in waiting:
            ray.cancel(left)
