"""The budget of an endpoint: what requests are charged, and a job that spends it."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from annotation.annotate import annotate
from annotation.asking.ask import CHOICES
from annotation.engines.endpoint import Endpoint
from annotation.engines.token_spend import TokenSpend, read_spend
from corpus.tables import read_table
from tests.annotation.conftest import DOCUMENTS, QUERIES
from tests.annotation.engines.conftest import TOKENS, Misbehaving, answer, kinds, odd, start

COST = TOKENS + 1
MOST = TOKENS + 4  # that an answer could cost


def test_never_are_more_tokens_spent_than_the_budget_allows(server: str) -> None:
    engine = start(server, token_budget=5 * COST + 3, concurrency=4)
    answers = answer(engine, *["good"] * 10)
    assert [answer.error for answer in answers[:5]] == [None] * 5
    assert {answer.error for answer in answers[5:]} == {"budget: 43 tokens do not suffice for more"}
    assert Misbehaving.seen["good"] == 5


def test_a_server_that_counts_nothing_is_counted_for(server: str) -> None:
    answers = answer(start(odd(server, "counts nothing"), token_budget=100), *["good"] * 200)
    # 8 for each, of which 4 might have been written: the twelfth is the last that 11 are left for.
    assert Misbehaving.seen["counts nothing"] == 12
    assert Counter(kinds(answers)) == {None: 12, "budget": 188}
    assert (answers[0].prompt_tokens, answers[0].answer_tokens) == (TOKENS, 1)


def test_a_server_that_counts_more_is_reckoned_with(server: str) -> None:
    answers = answer(start(odd(server, "counts more"), token_budget=200), *["good"] * 100)
    # 36 for each: after the first, 35 + 4 must be left for another.
    assert Misbehaving.seen["counts more"] == 5
    assert Counter(kinds(answers)) == {None: 5, "budget": 95}


def test_attempts_that_may_have_cost_something_are_charged(server: str) -> None:
    engine = start(server, token_budget=3 * MOST + MOST - 1, retries=10)
    assert kinds(answer(engine, "always broken")) == ["budget"]
    assert Misbehaving.seen["always broken"] == 3
    engine = start(server, token_budget=2 * MOST - 1, timeout=0.5, retries=10)
    assert kinds(answer(engine, "late")) == ["budget"]
    assert Misbehaving.seen["late"] == 1


def test_attempts_that_were_turned_away_cost_nothing(server: str) -> None:
    engine = start(server, token_budget=MOST, retries=3)
    assert kinds(answer(engine, "busy twice")) == [None]
    engine = start("http://127.0.0.1:9/v1", token_budget=MOST, retries=1)
    [unreached] = answer(engine, "good")
    assert re.search("engine: .*127.0.0.1:9.*onnect", unreached.error or "")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_users_own_length_of_an_answer_is_reckoned_with(field: str, server: str) -> None:
    engine = start(server, token_budget=TOKENS + 99, fields={field: 100})
    assert kinds(answer(engine, "good")) == ["budget"]
    assert not Misbehaving.seen
    engine = start(server, token_budget=TOKENS + 100, fields={field: 100})
    assert kinds(answer(engine, "good")) == [None]


def test_room_to_think_is_reckoned_with(server: str) -> None:
    engine = start(server, token_budget=MOST + 499)
    assert kinds(answer(engine, "good", form=replace(CHOICES, thinking=500))) == ["budget"]


def test_a_restarted_engine_goes_on_with_the_count(server: str) -> None:
    spend = TokenSpend(3 * COST + 3)
    assert kinds(answer(start(server, spend=spend), "good")) == [None]
    assert spend.reserve(COST), "a request that is open when the engine is lost"
    assert kinds(answer(start(server, spend=spend), *["good"] * 3)) == [None, "budget", "budget"]


def graded(annotations: pa.Table) -> set[tuple[str, str, int]]:
    rows = annotations.filter(pc.is_valid(annotations["grade"])).to_pylist()
    return {(row["query_id"], row["doc_id"], row["grade"]) for row in rows}


@pytest.mark.slow
def test_a_spent_budget_stops_cleanly_and_resuming_goes_on(
    server: str,
    collection_folder: Path,
    random_model: Path,
    cluster: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"

    def run(budget: int | None, resume: bool) -> pa.Table:
        engine = Endpoint(server, measured_by=str(random_model), token_budget=budget)
        annotate(
            collection_folder,
            output,
            model="m",
            engine=engine,
            max_model_len=600,  # every prompt alone is within the budget, whichever comes first
            batch_size=100,
            resume=resume,
        )
        return read_table(output, "annotations")

    first = run(budget=40_000, resume=False)
    answered = first.filter(pc.is_valid(first["grade"])).num_rows
    assert 50 < answered < 300
    assert "--resume" in capsys.readouterr().out
    spent = read_spend(output / "token_spend.json")
    assert 39_000 < spent <= 40_000
    assert sum(Misbehaving.seen.values()) == answered
    again = run(budget=40_000, resume=True)
    # What was reserved and not spent when the first run ended may suffice for a few more.
    assert graded(first) <= graded(again)
    in_all = read_spend(output / "token_spend.json")
    assert spent <= in_all <= 40_000, "the budget is of all runs together"
    assert f"{in_all:,} of 40,000 tokens of the budget are spent" in capsys.readouterr().out
    whole = run(budget=None, resume=True)
    askable = len(DOCUMENTS) * (len(QUERIES) - 1)  # one query is blank
    assert whole.num_rows == len(DOCUMENTS) * len(QUERIES)
    assert pc.sum(pc.is_valid(whole["grade"])).as_py() == askable
    assert sum(Misbehaving.seen.values()) == askable, "none was paid for twice"
    assert json.loads((output / "job.json").read_text())["complete"]
