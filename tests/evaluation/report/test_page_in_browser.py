"""The page as a person opens it: in a browser, at the widths of a desk and a phone, and printed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (apt install chromium)"),
]

# What is laid out side by side or below each other: none of it may cover another.
OVERLAPS = """() => {
  const shown = [...document.querySelectorAll("h1, h2, nav, p, figure, .scroll, figcaption")]
    .map((element) => [element, element.getBoundingClientRect()])
    .filter(([, box]) => box.width && box.height);
  const found = [];
  shown.forEach(([one, a], place) => {
    for (const [other, b] of shown.slice(place + 1)) {
      if (one.contains(other)) continue;
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1) found.push(`${one.outerHTML} ${other.outerHTML}`.slice(0, 200));
    }
  });
  return found;
}"""
OUTSIDE = """() => [...document.querySelectorAll("h1, h2, p, figure, svg, .scroll")]
  .filter((element) => !element.closest(".wide .picture"))  // which scrolls
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 100))"""
# Letters of a picture that lie on other letters of it.
COVERED = """() => [...document.querySelectorAll("svg")].flatMap((svg) => {
  const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim());
  const boxes = texts.map((text) => text.getBoundingClientRect());
  return texts.filter((_, one) => boxes.some((b, other) => other > one
    && Math.min(boxes[one].right, b.right) - Math.max(boxes[one].left, b.left) > 1
    && Math.min(boxes[one].bottom, b.bottom) - Math.max(boxes[one].top, b.top) > 1.5))
    .map((text) => `${svg.getAttribute("aria-labelledby")}: ${text.textContent}`);
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        # A container's root may not make sandboxes; the page under test is our own.
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = started.chromium.launch(executable_path=BROWSER, args=quiet)
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [360, 1200])
def test_opens_without_errors_or_requests_and_nothing_overlaps(
    browser: Browser, report: Path, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    errors, requests = [], []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    assert errors == []
    assert requests == [report.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(COVERED) == []
    page.close()


def test_a_column_is_sorted_by_mouse_and_by_keyboard(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    table = page.get_by_role("table", name="nDCG@10 against annotation", exact=False)
    heading = table.get_by_role("columnheader", name="difference")
    assert heading.get_attribute("aria-sort") == "none"

    def column(place: int) -> list[str]:
        cells = table.locator(f"td:nth-child({place})").all()
        return [cell.get_attribute("data-key") or "" for cell in cells]

    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    descending = [float(key) for key in column(4)]
    assert descending == sorted(descending, reverse=True)
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(key) for key in column(4)] == descending[::-1]
    group = table.get_by_role("columnheader", name="group")
    group.get_by_role("button").press("Space")
    assert (heading.get_attribute("aria-sort"), group.get_attribute("aria-sort")) == (
        "none",
        "ascending",
    )
    assert column(2) == sorted(column(2))
    page.close()


def test_cells_without_a_value_come_last_whichever_way_a_column_is_sorted(
    browser: Browser, report: Path
) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    table = page.get_by_role("table", name="Propensities by position", exact=False)
    heading = table.get_by_role("button", name="propensity")
    for keys in (["1.0", "1.0", "0.5", ""], ["0.5", "1.0", "1.0", ""]):
        heading.click()
        cells = table.locator("td:nth-child(2)").all()
        assert [cell.get_attribute("data-key") or "" for cell in cells] == keys
    page.close()


def test_files_of_tables_are_saved_without_a_network(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    for ending in ("csv", "tex"):
        with page.expect_download() as saved:
            page.locator(f'a[download="headline.{ending}"]').click()
        written = report.parent / "tables" / f"headline.{ending}"
        assert Path(saved.value.path()).read_bytes() == written.read_bytes()
    page.close()


def test_prints_whole_tables(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    hidden = (
        "[...document.querySelectorAll('.scroll')].filter(b => b.scrollHeight > b.offsetHeight + 2)"
    )
    assert page.evaluate(f"{hidden}.length") == 0
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
