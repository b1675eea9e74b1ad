import threading
from functools import partial

import pytest

from workflow.side_by_side import run_side_by_side


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_each_job_runs_once_and_so_many_at_a_time(at_once: int) -> None:
    begun, running, most = [], set(), 0
    lock = threading.Lock()
    pause = threading.Event()

    def job(number: int) -> None:
        nonlocal most
        with lock:
            begun.append(number)
            running.add(number)
            most = max(most, len(running))
        pause.wait(0.02)
        with lock:
            running.remove(number)

    run_side_by_side([partial(job, number) for number in range(6)], at_once)
    assert sorted(begun) == [0, 1, 2, 3, 4, 5]
    assert begun == sorted(begun) or at_once > 1
    assert most == min(at_once, 6)


def test_a_failure_lets_what_runs_come_to_its_end_and_nothing_begin() -> None:
    begun, failed, ended = threading.Event(), threading.Event(), []

    def fail() -> None:
        assert begun.wait(5)
        failed.set()
        raise ValueError("of the first")

    def go_on() -> None:
        begun.set()
        assert failed.wait(5)
        ended.append("second")

    def never() -> None:
        ended.append("third")

    with pytest.raises(ValueError, match="of the first"):
        run_side_by_side([fail, go_on, never], at_once=2)
    assert ended == ["second"]


def test_no_job_is_no_fault() -> None:
    run_side_by_side([], at_once=2)
