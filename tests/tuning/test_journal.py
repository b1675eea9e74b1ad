"""The journal of a study in a store, and the one search that may write it."""

import json
import time

import pytest
from botocore.exceptions import EndpointConnectionError

from corpus.errors import InputError
from corpus.places import Place, read_whole, write_whole
from tuning import journal
from tuning.journal import JOURNAL, LOCK, only_search
from tuning.study import enqueue_known, finished_trials, open_study

SETTINGS = {"seed": 0}


def test_a_study_in_a_store_goes_on_with_all_it_knew(store: Place) -> None:
    study = open_study(store, None, SETTINGS, ["nDCG@10_all"], seed=0)
    enqueue_known(study, {"clicks": {"weight": 1.0}})
    trial = study.ask()
    assert trial.suggest_float("weight", 0, 1) == 1.0
    study.tell(trial, 0.5)
    whole = (store / JOURNAL).read_bytes()
    again = open_study(store, None, SETTINGS, ["nDCG@10_all"], seed=0)
    assert (store / JOURNAL).read_bytes().startswith(whole)
    assert [trial.value for trial in finished_trials(again)] == [0.5]
    with pytest.raises(InputError, match="holds a study with seed = 0, and now 1"):
        open_study(store, None, {"seed": 1}, ["nDCG@10_all"], seed=1)


def test_one_search_at_a_time_holds_a_folder_of_a_store(store: Place) -> None:
    alive = {"host": "elsewhere", "process": 7, "renewed": time.time()}
    write_whole(store / LOCK, json.dumps(alive))
    with pytest.raises(InputError, match="process 7 of elsewhere, was at work"), only_search(store):
        pass
    write_whole(store / LOCK, json.dumps(alive | {"renewed": time.time() - journal.LOST}))
    with only_search(store):
        assert json.loads((store / LOCK).read_text())["process"] != 7
    assert not (store / LOCK).exists()


def test_a_search_shows_that_it_is_alive(store: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "RENEWED", 0.05)

    def renewed() -> float:
        return float(json.loads(read_whole(store / LOCK))["renewed"])

    with only_search(store):
        first = renewed()
        time.sleep(0.5)
        assert renewed() > first


def test_a_store_that_is_away_for_a_moment_neither_ends_the_signs_of_life_nor_hides_an_error(
    store: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "RENEWED", 0.05)
    away = EndpointConnectionError(endpoint_url="http://127.0.0.1:9")  # which is no OSError
    renewed: list[float] = []

    def renew(place: Place, content: str) -> None:
        renewed.append(time.time())
        if len(renewed) in (2, 3):
            raise away
        write_whole(place, content)

    def remove(place: Place) -> None:
        raise away

    def search() -> None:
        with only_search(store):
            time.sleep(0.5)
            raise InputError("the search's own")

    monkeypatch.setattr(journal, "write_whole", renew)
    monkeypatch.setattr(journal, "remove", remove)
    with pytest.raises(InputError, match="the search's own"):
        search()
    assert len(renewed) > 4
