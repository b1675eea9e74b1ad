"""The tables of a report as CSV, for programs, as LaTeX, for papers, and as Markdown."""

import pandas as pd

from corpus.shown_text import printable
from evaluation.report.cells import cell_of, is_missing
from evaluation.report.parts import Estimate, Table, slug


def csv_of(table: Table) -> str:
    """The table as CSV with all digits.

    A column of estimates NAME becomes NAME, "NAME low", "NAME high", and where there are any,
    "NAME verdict" and "NAME note".

    >>> print(csv_of(Table("t", pd.DataFrame({"ranker": ["a"], "all": [Estimate(1, 0.5, 2)]}), "")))
    ranker,all,all low,all high
    a,1,0.5,2
    <BLANKLINE>
    """
    columns: dict[str, pd.Series] = {}
    for name, column in table.frame.items():
        if any(isinstance(value, Estimate) for value in column):
            columns |= _unfolded(str(name), column)
        else:
            columns[str(name)] = column
    return str(pd.DataFrame(columns).to_csv(index=False, lineterminator="\n"))


def latex_of(table: Table) -> str:
    r"""The table as LaTeX for the package booktabs; what wins is bold.

    Every text is escaped. An estimate is its value with the bounds of its interval in brackets, and
    \textsuperscript{+} where it wins, \textsuperscript{--} where it loses.
    """
    frame = table.frame.reset_index(drop=True)
    shown = frame.map(_latex_cell)
    columns = [
        _escaped(f"{name} ({table.notes[name]})" if name in table.notes else str(name))
        for name in frame.columns
    ]
    numeric = ["l", *["r" if _is_numeric(frame[name]) else "l" for name in frame.columns[1:]]]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(table.caption)}}}",
        rf"\label{{tab:{slug(table.name)}}}",
        rf"\begin{{tabular}}{{{''.join(numeric[: len(columns)])}}}",
        r"\toprule",
        rf"{' & '.join(columns)} \\",
        r"\midrule",
        *(rf"{' & '.join(row)} \\" for row in shown.itertuples(index=False, name=None)),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def markdown_table(frame: pd.DataFrame) -> str:
    """The rows of a table in Markdown; what wins is bold, and what loses has the word.

    >>> table = pd.DataFrame({"ranker": ["a"], "all": [Estimate(0.02, 0.01, 0.03, "wins")]})
    >>> print(markdown_table(table), end="")
    | ranker | all |
    | --- | --- |
    | a | **0.020** 0.010–0.030 |
    """
    shown = frame.map(_markdown_cell)
    lines = [list(frame.columns), ["---"] * len(frame.columns), *shown.to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown_cell(value: object) -> str:
    cell = cell_of(value)
    if not cell.text:
        return "–"
    text = f"**{cell.text}**" if cell.verdict == "wins" else cell.text
    loses = "loses" if cell.verdict == "loses" else ""
    return " ".join(part for part in (text, cell.interval, loses) if part).replace("|", r"\|")


def _unfolded(name: str, column: "pd.Series") -> dict[str, "pd.Series"]:
    def part(of: str) -> "pd.Series":
        values = [getattr(value, of) if isinstance(value, Estimate) else None for value in column]
        return pd.Series(values, index=column.index, dtype=object)

    parts = {name: part("value"), f"{name} low": part("low"), f"{name} high": part("high")}
    further = {f"{name} verdict": part("verdict"), f"{name} note": part("note")}
    return parts | {key: found for key, found in further.items() if found.map(bool).any()}


def _is_numeric(column: "pd.Series") -> bool:
    return all(not isinstance(value, str) for value in column)


def _latex_cell(value: object) -> str:
    if not isinstance(value, Estimate):
        return "--" if is_missing(value) else _escaped(cell_of(value).text)
    cell = cell_of(value)
    if not cell.text:
        return "--"
    text = rf"\textbf{{{_escaped(cell.text)}}}" if cell.verdict == "wins" else _escaped(cell.text)
    text += {"wins": r"\textsuperscript{+}", "loses": r"\textsuperscript{--}"}.get(cell.verdict, "")
    return text + (f" [{_escaped(cell.interval)}]" if cell.interval else "")


# One pass over the characters, so that no escape is escaped again.
_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "[": "{[}",  # else a row that begins with it is taken for the option of the row before
        "]": "{]}",
        "\n": " ",
        "\t": " ",
        "\N{MINUS SIGN}": "$-$",
        "\N{EN DASH}": "--",
    }
)


def _escaped(text: str) -> str:
    return printable(text).translate(_ESCAPES)
