"""The page of a search as a person opens it: at the widths of a desk and a phone."""

import re
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page

from tests.evaluation.report.test_page_in_browser import (
    COVERED,
    OUTSIDE,
    OVERLAPS,
    browser,
    pytestmark,
)
from tests.tuning.studies import (
    HOSTILE,
    MEASURES,
    some_trials,
    write_epochs,
    write_finalists,
    write_study,
)
from tuning.analyse import analyse

__all__ = ["browser", "pytestmark"]


def test_a_page_of_a_running_search_opens_clean_and_its_tables_are_sorted(
    browser: Browser,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trials = some_trials(30, MEASURES[:1], seed=2)
    trials[7].user_attrs["error"] = HOSTILE
    trials[5].user_attrs["worker"] = HOSTILE
    write_study(tmp_path, trials)
    write_epochs(tmp_path, trials[:-1])
    write_finalists(tmp_path, {"trial 11": (11, 0.04), "famol": (3, 0.02), "trial 6": (6, 0.03)})
    analyse(tmp_path, resamples=20)
    path = tmp_path / "analysis.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert pd.read_csv(tmp_path / "tables" / "trials.csv")["trial"].tolist() == list(range(30))
    assert (tmp_path / "tables" / "finalists.tex").exists()
    open_clean(browser, path, 1200)
    page = open_clean(browser, path, 360)
    titles = page.locator("h2").all_text_contents()
    assert titles == [
        *("What was found", "Best so far", "Head against tail", "The winner's weights"),
        *("With other seeds", "Learning curves", "What mattered", "Slices"),
        *("Parameters together", "Timeline", "Every trial"),
    ]
    table = page.get_by_role("table", name=re.compile("^Every trial"))
    table.get_by_role("columnheader", name="trial", exact=False).first.get_by_role("button").click()
    cells = table.locator("tbody th").all()
    assert [cell.get_attribute("data-key") for cell in cells] == [str(n) for n in range(29, -1, -1)]


def open_clean(browser: Browser, path: Path, width: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900})
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    assert errors == []
    assert requests == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(COVERED) == []
    return page
