"""How fast click logs of each format are read into tables, and in how much memory.

    python -m benchmarks.log_reading

Generates logs that hold the same queries and documents over and over, reads each into tables in a
process of its own, and prints MiB a second of the log (of gzipped logs unpacked, of parquet as JSON
lines would have it), also of a processor's time, and the most memory that was held (resident set).
With `--processes 2` shards are read by tasks of a Ray cluster of two processors.
"""

import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

QUERIES, DOCUMENTS, PAGE = 2_000, 10_000, 10
ROWS_PER_GROUP = 100_000
READ = """
import sys, time
from pathlib import Path
from corpus.readers.log_tables import write_log_tables
from corpus.sources import BaiduUltr, OwnLogFiles, TianGong

kind, path, processes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
documents = path.with_name("documents.jsonl")
log = {
    "tiangong": lambda: TianGong(path),
    "baidu": lambda: BaiduUltr(path),
    "jsonl": lambda: OwnLogFiles(path, documents),
    "parquet": lambda: OwnLogFiles(path, documents),
}[kind]().log()
if processes > 1:
    import ray
    ray.init(num_cpus=processes, logging_level="ERROR")
    ray.get([ray.remote(lambda: time.sleep(1)).remote() for _ in range(processes)])
start, used = time.perf_counter(), time.process_time()
write_log_tables(log, path.with_name("tables"), 0.2)
print(time.perf_counter() - start, time.process_time() - used)
# The peak of this program alone: getrusage would count that of the one which started it.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)
"""
Search = tuple[int, int, list[int], list[int]]


def main(
    mebibytes: list[int] = [64, 256],  # noqa: B006 - read only
    formats: list[str] = ["tiangong", "baidu", "jsonl", "parquet"],  # noqa: B006 - read only
    processes: list[int] = [1],  # noqa: B006 - read only
) -> None:
    """Reads a log of each size.

    Args:
        mebibytes: sizes of the logs.
        formats: tiangong, baidu, jsonl, parquet.
        processes: how many read at once: one in this process, more as tasks of Ray.
    """
    table = Table("format", "log, MiB", "searches", "processes")
    for heading in ("seconds", "MiB/s", "MiB a processor's second", "most memory, MiB"):
        table.add_column(heading, justify="right")
    for name in formats:
        for size in mebibytes:
            with tempfile.TemporaryDirectory() as folder:
                path, searches = write_log(name, Path(folder), size)
                for count in processes:
                    command = [sys.executable, "-c", READ, name, str(path), str(count)]
                    ran = subprocess.run(command, check=True, capture_output=True, text=True)
                    seconds, of_cpu, memory = map(float, ran.stdout.split()[-3:])
                    cells = [f"{size:,}", f"{searches:,}", str(count), f"{seconds:.1f}"]
                    own = f"{size / of_cpu:.0f}" if count == 1 else ""
                    table.add_row(name, *cells, f"{size / seconds:.0f}", own, f"{memory:,.0f}")
                    subprocess.run(["rm", "-r", str(Path(folder) / "tables")], check=True)
    Console(width=120).print(table)


def write_log(name: str, folder: Path, mebibytes: int) -> tuple[Path, int]:
    """Writes searches until the log has its size as text; returns the file and how many."""
    rng = np.random.default_rng(0)
    with (folder / "documents.jsonl").open("w") as file:
        for doc in range(DOCUMENTS):
            file.write(json.dumps({"doc_id": f"d{doc}", "title": f"title of {doc}"}) + "\n")
    endings = {"tiangong": ".xml", "baidu": ".gz", "jsonl": ".jsonl", "parquet": ".parquet"}
    path = folder / f"log{endings[name]}"
    write: Callable[[TextIO, Search], Any] = {
        "tiangong": write_tiangong,
        "baidu": write_baidu,
    }.get(name, write_json)
    number = size = 0
    with gzip.open(path, "wt", 1) if name == "baidu" else path.open("w", encoding="utf-8") as file:
        if name == "tiangong":
            file.write("<sogou>\n")
        while size < mebibytes << 20:
            query = int(rng.integers(QUERIES))
            shown = (query * 5 + rng.permutation(3 * PAGE)[:PAGE]) % DOCUMENTS
            clicks = [0] * PAGE
            clicks[int(rng.integers(PAGE))] = 1
            size += write(file, (number, query, shown.tolist(), clicks))
            number += 1
        if name == "tiangong":
            file.write("</sogou>\n")
    if name == "parquet":
        lines = path.read_text().splitlines()
        pq.write_table(
            pa.Table.from_pylist([json.loads(line) for line in lines]),
            path,
            row_group_size=ROWS_PER_GROUP,
        )
    return path, number


def write_tiangong(file: TextIO, search: Search) -> int:
    """Writes a session of one search; returns its length, as the other functions do."""
    number, query, shown, clicks = search
    results = "".join(
        f'<result rank="{rank}"><url>http://example.org/{doc}</url><docid>d{doc}</docid>'
        f"<title>title of the document {doc} in some words</title><vtype>30000101</vtype>"
        "<relevance><TACM>0.1</TACM><PSCM>0.2</PSCM><THCM>0.3</THCM><UBM>0.4</UBM>"
        "<DBN>0.5</DBN><POM>0.6</POM></relevance></result>\n"
        for rank, doc in enumerate(shown, 1)
    )
    return file.write(
        f'<session num="{number}"><interaction num="1"><query>query {query}</query>'
        f"<query_id>{query}</query_id><results>{results}</results><clicked><click>"
        f"<rank>{1 + clicks.index(1)}</rank></click></clicked></interaction></session>\n"
    )


def write_baidu(file: TextIO, search: Search) -> int:
    """Writes a page, whose texts are as long as those published: 10 and 40 tokens."""
    _, query, shown, clicks = search
    length = file.write(f"{query}\t{tokens(query, 5)}\t-\n")
    for rank, (doc, click) in enumerate(zip(shown, clicks, strict=True), 1):
        cells = [str(rank), f"d{doc}", tokens(doc, 10), tokens(doc + 1, 40), "0", str(click)]
        length += file.write("\t".join(cells + ["-"] * 26) + "\n")
    return length


def tokens(seed: int, count: int) -> str:
    """As many numbers of words, which differ from seed to seed."""
    return "\x01".join(str((seed * 7919 + place * 104729) % 22000) for place in range(count))


def write_json(file: TextIO, search: Search) -> int:
    """Writes a line."""
    number, query, shown, clicks = search
    row: dict[str, Any] = {
        "session_id": f"s{number}",
        "query_id": f"q{query}",
        "query": f"query {query} in words",
    }
    row |= {"doc_ids": [f"d{doc}" for doc in shown], "clicks": clicks}
    row |= {"time": 1_700_000_000 + number, "device": "phone" if number % 3 else "tv"}
    return file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
