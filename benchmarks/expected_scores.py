"""What studies are expected to give: compares a study with it, or writes it down from one.

    python -m benchmarks.expected_scores --study runs/reproduce --name headline
    python -m benchmarks.expected_scores --study runs/reproduce --name headline --write true \
        --title 'five simulated worlds' --command 'make reproduce' --tolerance 0.02 \
        --hardware 'two cores of 2.4 GHz, no GPU'

The first prints expected and measured scores, and ends with status 1 where one is not within the
tolerance. The second makes the entry of `expected_scores.yaml`, so that no number is typed by hand,
and from all entries the tables of docs/reproduce.md; what is not given of an entry stays.
"""

import hashlib
import json
import re
import sys
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
import yaml
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from corpus.errors import InputError
from corpus.groups import GROUPS
from corpus.output_folder import RECORD
from evaluation.measures import MAIN_MEASURE
from rankers.settings import BatchingSettings
from ray_jobs.command_line import run

EXPECTED = Path(__file__).with_suffix(".yaml")
PAGE = Path(__file__).parents[1] / "docs" / "reproduce.md"
BEGIN, END = "<!-- benchmarks/expected_scores.py makes what follows -->", "<!-- up to here -->"
HEADER = "# Made by benchmarks/expected_scores.py from studies; no number is typed by hand.\n"
WORDS = ("title", "command", "hardware", "tolerance")  # of an entry, beside what a study tells
DIGITS = 4
Entry = dict[str, Any]


def main(
    study: Path,
    name: str,
    write: bool = False,
    title: str | None = None,
    command: str | None = None,
    hardware: str | None = None,
    tolerance: float | None = None,
) -> None:
    """Compares a study with what is expected of it, or writes that down.

    Args:
        study: folder that `reproduce` wrote.
        name: the entry, such as headline, cranfield or small.
        write: make the entry from this study, and the tables of docs/reproduce.md anew.
        title: of the entry, what it is of, in a few words.
        command: that makes such a study.
        hardware: that it was made on, in plain words.
        tolerance: by how much another run may differ in any group of queries.
    """
    entries = read_expected()
    if not write:
        if name not in entries:
            raise InputError(f"{EXPECTED}: has no {name!r}, only {', '.join(entries) or 'nothing'}")
        compared = compare_study(entries[name], study)
        _print(compared, name)
        sys.exit(0 if compared["within"].all() else 1)
    given = dict(zip(WORDS, (title, command, hardware, tolerance), strict=True))
    words = {word: entries.get(name, {}).get(word) for word in WORDS}
    words |= {word: value for word, value in given.items() if value is not None}
    if lacking := [word for word, value in words.items() if value is None]:
        raise InputError(f"the entry {name!r} is new; give it --{lacking[0]} as well")
    entries[name] = words | describe_study(study)
    written = yaml.safe_dump(entries, sort_keys=False, width=100, allow_unicode=True)
    EXPECTED.write_text(HEADER + written, encoding="utf-8")
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), entries), encoding="utf-8")


def read_expected() -> dict[str, Entry]:
    """The entries of expected_scores.yaml by name: title, command, hardware, tolerance and a study.

    What a study tells are seeds, settings (a hash) and scores, by condition and group of queries.
    """
    if not EXPECTED.exists():
        return {}
    return yaml.safe_load(EXPECTED.read_text(encoding="utf-8")) or {}


def describe_study(study: Path) -> Entry:
    """What an entry keeps of a study: seeds, a hash of its settings, and mean scores.

    Args:
        study: folder that `reproduce` wrote.

    Raises:
        InputError: it holds no finished study.
    """
    measures, record = study / "measures.parquet", study / RECORD
    if not measures.exists() or not record.exists():
        raise InputError(f"{study}: holds no finished study; `reproduce` writes one")
    settings = json.loads(record.read_text(encoding="utf-8"))["settings"]
    # The judge may be a folder, whose name says nothing; a backbone's is that of the model.
    deciding = {name: value for name, value in settings.items() if name != "model"}
    model, batching = (deciding["training"][group] for group in ("model", "batching"))
    model["backbone"] = PurePath(model["backbone"]).name
    # Studies run on processors, where what is left out is the number that older ones recorded.
    batching["tokens_per_micro_batch"] = BatchingSettings(**batching).tokens_at_once(on_gpu=False)
    digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()
    table = pd.read_parquet(measures)
    table = table[(table["measure"] == MAIN_MEASURE) & (table["queries"] > 0)]
    wide = table.pivot_table("value", "ranker", "bucket", sort=False, observed=True)
    wide = wide[[group for group in GROUPS if group in wide]].round(DIGITS)
    return {
        "seeds": len(list(study.glob("seed-*"))),
        "settings": digest[:16],
        "scores": {str(ranker): row.dropna().to_dict() for ranker, row in wide.iterrows()},
    }


def compare_study(expected: Entry, study: Path) -> pd.DataFrame:
    """Expected and measured scores, side by side; says where the study is another one.

    Args:
        expected: an entry of `read_expected`.
        study: folder that `reproduce` wrote.

    Returns:
        condition, group, expected, measured (NaN where the study has none), difference (measured -
        expected) and within (whether it is at most the tolerance), a row for each expected score.

    Raises:
        InputError: it holds no finished study.
    """
    found = describe_study(study)
    for what in ("seeds", "settings"):
        if found[what] != expected[what]:
            print(f"{study}: its {what} are {found[what]}, and expected are {expected[what]}")
    rows = [
        {"condition": condition, "group": group, "expected": score}
        | {"measured": found["scores"].get(condition, {}).get(group, np.nan)}
        for condition, of_groups in expected["scores"].items()
        for group, score in of_groups.items()
    ]
    table = pd.DataFrame(rows)
    table["difference"] = (table["measured"] - table["expected"]).round(DIGITS)
    return table.assign(within=table["difference"].abs() <= expected["tolerance"])


def with_tables(page: str, entries: dict[str, Entry]) -> str:
    """The page with the tables of all entries between its two marks."""
    kept = re.escape(BEGIN) + ".*?" + re.escape(END)
    block = "\n".join([BEGIN, "", *_tables(entries), "", END])
    return re.sub(kept, lambda _: block, page, flags=re.DOTALL)


def _tables(entries: dict[str, Entry]) -> list[str]:
    lines = [
        "| study | data | command | seeds | hardware | tolerance |",
        "|---|---|---|---:|---|---:|",
    ]
    lines += [
        f"| {name} | {entry['title']} | `{entry['command']}` | {entry['seeds']} | "
        f"{entry['hardware']} | {entry['tolerance']} |"
        for name, entry in entries.items()
    ]
    conditions = list(dict.fromkeys(name for entry in entries.values() for name in entry["scores"]))
    lines += ["", "| condition | " + " | ".join(entries) + " |", "|---|" + "---|" * len(entries)]
    for condition in conditions:
        cells = (_cell(entry["scores"].get(condition)) for entry in entries.values())
        lines.append(f"| {condition} | " + " | ".join(cells) + " |")
    return lines


def _cell(scores: dict[str, float] | None) -> str:
    """Scores on high, medium, low and all queries."""
    if scores is None:
        return "–"
    return " / ".join(f"{scores[name]:.3f}" if name in scores else "–" for name in GROUPS[:4])


def _print(compared: pd.DataFrame, name: str) -> None:
    table = Table(title=f"{MAIN_MEASURE} of {name}, expected and measured")
    for heading in compared.columns.astype(str):
        table.add_column(heading, justify="left" if heading in ("condition", "group") else "right")
    for row in compared.to_dict("records"):
        numbers = (f"{row['expected']:.3f}", f"{row['measured']:.3f}", f"{row['difference']:+.4f}")
        within = "yes" if row["within"] else "[bold]no[/]"
        table.add_row(row["condition"], row["group"], *numbers, within)
    Console().print(table)
    largest = compared["difference"].abs().max()
    print(
        f"largest difference {largest:.4f}; {(~compared['within']).sum()} not within the tolerance"
    )


if __name__ == "__main__":
    run(lambda: auto_cli(main, as_positional=False))
