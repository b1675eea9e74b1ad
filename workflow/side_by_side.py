"""Jobs of one process that run side by side."""

from collections import deque
from collections.abc import Callable, Iterable
from threading import Thread


def run_side_by_side(jobs: Iterable[Callable[[], None]], at_once: int) -> None:
    """Runs jobs in threads, so many at a time, in their order.

    When one fails, those that run go on to their end, no other begins, and the first failure is
    raised. Ctrl-C is raised at once: threads end with the process.

    Args:
        jobs: what to run; what they have in common they have imported.
        at_once: how many at a time, at least 1.
    """
    left, failures = deque(jobs), list[BaseException]()

    def work() -> None:
        while left and not failures:
            try:
                job = left.popleft()
            except IndexError:  # another thread has taken it
                return
            try:
                job()
            except BaseException as failure:  # handed on to the main thread, whatever it is
                failures.append(failure)

    threads = [Thread(target=work, daemon=True) for _ in range(min(at_once, len(left)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
