"""The page read by a parser of HTML: what is in it, what is escaped, what it would ask for."""

from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from evaluation.report.figures import new_panel
from evaluation.report.page import write_report
from evaluation.report.parts import Estimate, Picture, Section, Table


class Reading(HTMLParser):
    """Elements of a page, their attributes and all text but that of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.elements or self.elements[-1][0] not in ("script", "style"):
            self.text += data

    def all_of(self, name: str) -> list[str]:
        return [value for _, found in self.elements if (value := found.get(name)) is not None]


def read(path: Path) -> Reading:
    reading = Reading()
    reading.feed(path.read_text(encoding="utf-8"))
    return reading


def test_asks_for_nothing(report: Path) -> None:
    page = read(report)
    links = page.all_of("href") + page.all_of("src") + page.all_of("xlink:href")
    assert links
    assert [link for link in links if not link.startswith(("#", "data:"))] == []
    assert not {"link", "img", "iframe", "object"} & {
        tag for tag, found in page.elements if not str(found.get("href")).startswith("data:")
    }
    styles = report.read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in styles
    assert "@import" not in styles


def test_texts_from_data_are_shown_and_not_taken_for_html(report: Path) -> None:
    page = read(report)
    assert [tag for tag, _ in page.elements].count("script") == 1
    shown = r"<script>alert('x')</script> & \x1b[31m \u202e $x_1$ 搜索"
    # The title, the heading, the introduction, a query twice, a document, and one ranked first.
    assert page.text.count(shown) >= 6
    assert "\x1b" not in report.read_text()


def test_each_id_is_there_once_and_each_reference_has_its_target(report: Path) -> None:
    page = read(report)
    ids = page.all_of("id")
    assert len(ids) == len(set(ids))
    named = page.all_of("aria-labelledby")
    named += [
        link[1:] for link in page.all_of("href") + page.all_of("xlink:href") if link[0] == "#"
    ]
    assert set(named) <= set(ids)
    pictures = [found for tag, found in page.elements if tag == "svg"]
    assert all(found["role"] == "img" and found["aria-labelledby"] for found in pictures)


def test_every_table_is_written_as_csv_and_latex(report: Path) -> None:
    names = sorted(path.stem for path in (report.parent / "tables").glob("*.csv"))
    assert names == sorted(path.stem for path in (report.parent / "tables").glob("*.tex"))
    assert len(names) == [tag for tag, _ in read(report).elements].count("table")
    headline = pd.read_csv(report.parent / "tables" / "headline.csv")
    assert headline["ranker"].tolist() == ["first stage", "annotation", "click", "famol", "fusion"]
    assert headline["all verdict"].fillna("").tolist() == ["", "", "", "wins", "wins"]


def test_the_page_is_the_same_each_time(tmp_path: Path) -> None:
    pages = []
    for run in ("one", "two"):
        figure, panel = new_panel("x", "y")
        panel.plot([0, 1], [0, 1], marker="o")
        sections = [Section("S", [Picture("p", figure, "A line", "A line.")])]
        (tmp_path / run).mkdir()
        pages.append(write_report(sections, tmp_path / run / "report.html", "T").read_bytes())
    assert pages[0] == pages[1]


def test_only_what_wins_is_marked_as_winning(tmp_path: Path) -> None:
    cells = [
        Estimate(0.9, 0.8, 1.0, "wins"),
        Estimate(0.8, 0.7, 0.9, "loses"),
        Estimate(0.95, None, None, "no difference shown"),
        Estimate(0.99),
        Estimate(float("nan")),
    ]
    frame = pd.DataFrame({"ranker": list("abcde"), "value": cells})
    path = write_report([Section("S", [Table("t", frame, "C")])], tmp_path / "r.html", "T")
    found = [found for tag, found in read(path).elements if tag == "td"]
    assert [cell["class"] for cell in found] == [
        "number wins",
        "number loses",
        "number no-difference-shown",
        "number",
        "number",
    ]
    assert [cell["data-key"] for cell in found] == ["0.9", "0.8", "0.95", "0.99", ""]


@pytest.mark.parametrize("names", [("t", "T"), ("a b", "a-b")])
def test_two_tables_of_one_name_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    parts = [Table(name, pd.DataFrame({"x": [1]}), "C") for name in names]
    with pytest.raises(ValueError, match="two tables"):
        write_report([Section("S", parts)], tmp_path / "r.html", "T")


def test_tables_of_an_earlier_page_do_not_stay(tmp_path: Path) -> None:
    for name in ("old", "new"):
        parts = [Table(name, pd.DataFrame({"x": [1]}), "C")]
        write_report([Section("S", parts)], tmp_path / "r.html", "T")
    assert [path.name for path in sorted((tmp_path / "tables").iterdir())] == ["new.csv", "new.tex"]


def test_a_page_without_rows_tables_or_sections(tmp_path: Path) -> None:
    empty = Table("t", pd.DataFrame({"x": []}), "C")
    for sections in ([], [Section("S", [])], [Section("S", [empty])]):
        assert "<h1>T</h1>" in write_report(sections, tmp_path / "r.html", "T").read_text()
