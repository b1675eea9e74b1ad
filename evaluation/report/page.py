"""The page of a report: sections in, one self-contained HTML file and the files of tables out."""

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import pandas as pd
from markupsafe import Markup

from corpus.places import Place, remove, write_whole
from corpus.shown_text import printable
from evaluation.report.cells import cell_of, is_missing, is_number
from evaluation.report.exports import csv_of, latex_of
from evaluation.report.figures import SIZE, svg_of
from evaluation.report.parts import Picture, Section, Table, slug

TABLES = "tables"
Part = TypeVar("Part")
SHORT, LONG = 20, 40  # texts of a column that is kept on one line, and of one that is not wide
EXPORTS = {"csv": ("CSV", "text/csv", csv_of), "tex": ("LaTeX", "application/x-tex", latex_of)}


def write_report(
    sections: Sequence[Section], path: Place, title: str, introduction: Sequence[str] = ()
) -> Place:
    """Writes a page of HTML, and each of its tables as CSV and LaTeX into `tables/` beside it.

    The page holds its styles, its script, its pictures and the files of its tables, and asks for
    nothing from any network. Texts are shown as they are: none of them is taken for HTML.

    Args:
        sections: what the page shows, in its order.
        path: the page to write, local or in a store. A `tables/` of an earlier page is replaced.
        title: its heading.
        introduction: paragraphs below the heading.

    Returns:
        `path`.

    Raises:
        ValueError: two sections, tables or pictures have the same name.
    """
    tables = _all(sections, Table)
    _refuse_repeated("sections", [slug(section.title) for section in sections])
    _refuse_repeated("tables", [slug(table.name) for table in tables])
    _refuse_repeated("pictures", [slug(picture.name) for picture in _all(sections, Picture)])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.jinja").render(
        title=printable(title),
        introduction=[printable(paragraph) for paragraph in introduction],
        sections=[_section(section) for section in sections],
        style=Markup(_beside("page.css")),
        script=Markup(_beside("sort.js")),
    )
    folder = path.parent / TABLES
    remove(folder)
    for table in tables:
        for ending, (_, _, written) in EXPORTS.items():
            text = written(table)
            write_whole(folder / f"{slug(table.name)}.{ending}", _bytes(text))
    write_whole(path, _bytes(page))
    return path


def _section(section: Section) -> dict[str, Any]:
    parts = []
    for part in section.parts:
        if isinstance(part, Table):
            parts.append({"kind": "table", **_table(part)})
        elif isinstance(part, Picture):
            parts.append({"kind": "picture", **_picture(part)})
        else:
            parts.append({"kind": "text", "text": printable(part)})
    return {"title": printable(section.title), "id": slug(section.title), "parts": parts}


def _table(table: Table) -> dict[str, Any]:
    frame = table.frame
    kinds = [_kind(frame[name]) for name in frame.columns]
    name = slug(table.name)
    return {
        "id": f"table-{name}",
        "caption": printable(table.caption),
        "columns": [
            {
                "name": printable(str(column)),
                "kind": kind,
                "note": printable(table.notes.get(str(column), "")),
            }
            for column, kind in zip(frame.columns, kinds, strict=True)
        ],
        "rows": [
            [cell_of(value) for value in row] for row in frame.itertuples(index=False, name=None)
        ],
        "files": [
            {
                "label": label,
                "name": f"{name}.{ending}",
                "url": f"data:{kind};charset=utf-8;base64,"
                + base64.b64encode(_bytes(written(table))).decode(),
            }
            for ending, (label, kind, written) in EXPORTS.items()
        ],
    }


def _kind(column: "pd.Series") -> str:
    """How the column is sorted and set: as numbers, as words or as long texts."""
    there = [value for value in column if not is_missing(value)]
    if there and all(is_number(value) for value in there):
        return "number"
    longest = max((len(str(value)) for value in there), default=0)
    return (
        "words" if SHORT < longest <= LONG else "short words" if longest <= SHORT else "long words"
    )


def _picture(picture: Picture) -> dict[str, Any]:
    return {
        "svg": Markup(svg_of(picture)),  # built from parsed XML, in which all texts are escaped
        "caption": printable(picture.caption),
        "wide": float(picture.figure.get_figwidth()) > SIZE[0] + 0.5,
        "label": printable(picture.text),
    }


def _all(sections: Sequence[Section], kind: type[Part]) -> list[Part]:
    return [part for section in sections for part in section.parts if isinstance(part, kind)]


def _refuse_repeated(what: str, names: list[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"two {what} of the report are named {repeated[0]!r}")


def _beside(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _bytes(text: str) -> bytes:
    """UTF-8, for which half a surrogate pair is written as an escape."""
    return text.encode("utf-8", errors="backslashreplace")
