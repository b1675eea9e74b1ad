"""The count of a budget, and what is left of it after a restart."""

from pathlib import Path

import pytest

from annotation.engines.token_spend import TokenSpend, read_spend
from corpus.errors import InputError
from corpus.places import Place


def test_no_more_is_reserved_than_the_budget_has_left() -> None:
    spend = TokenSpend(100)
    assert spend.reserve(60)
    assert not spend.reserve(41)
    spend.settle(60, 50)
    assert spend.reserve(50)
    assert not spend.reserve(1)


def test_a_request_can_cost_more_than_was_reserved() -> None:
    spend = TokenSpend(100)
    assert spend.reserve(10)
    spend.settle(10, 95)
    assert not spend.reserve(6)
    assert spend.reserve(5)


def test_what_an_engine_left_open_counts_as_spent() -> None:
    spend = TokenSpend(100)
    assert spend.reserve(60)
    spend.begin()
    assert not spend.reserve(41)
    assert spend.reserve(40)


def test_the_file_never_tells_less_than_may_be_spent(tmp_path: Path) -> None:
    path = tmp_path / "token_spend.json"
    assert read_spend(path) == 0
    spend = TokenSpend(100, path, spent=7)
    assert spend.reserve(30)
    assert read_spend(path) == 37, "a kill now would leave the request unaccounted for"
    spend.settle(30, 20)
    assert read_spend(path) == 27
    assert [entry.name for entry in tmp_path.iterdir()] == ["token_spend.json"]


def test_a_count_in_a_store_is_written_seldom_and_never_tells_less(store: Place) -> None:
    path = store / "token_spend.json"
    spend, told = TokenSpend(1000, path, spent=7), []
    for _ in range(30):
        assert spend.reserve(3)
        told.append(read_spend(path))
        assert told[-1] >= 7 + 3 * len(told)
        spend.settle(3, 3)
    assert len(set(told)) < 12, "steps of a hundredth of the budget"
    spend.end()
    assert read_spend(path) == 97
    assert spend.reserve(903)
    assert read_spend(path) == 1000, "nor more than the budget"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tokens": "7"}', '{"tokens": -1}', "{}"])
def test_a_file_that_tells_no_spend_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "token_spend.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"token_spend.json: does not tell"):
        read_spend(path)
