"""Whether a click log is read in bounded memory, whatever its length.

    python -m benchmarks.log_reading

Generates logs in the format of TianGong-ST that hold the same queries and documents over and over,
reads each into tables in a process of its own, and prints the most memory that it held (resident
set) and MiB a second.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

QUERIES, DOCUMENTS, PAGE = 2_000, 10_000, 10
READ = """
import resource, sys
from pathlib import Path
from corpus.readers.log_tables import write_log_tables
from corpus.readers.tiangong import TianGongLog
write_log_tables(TianGongLog(Path(sys.argv[1]), None, None), Path(sys.argv[2]), 0.2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main(mebibytes: list[int] = [64, 256, 1024]) -> None:  # noqa: B006 - read only
    """Reads a log of each size.

    Args:
        mebibytes: sizes of the logs.
    """
    table = Table("log, MiB", "searches", "most memory, MiB", "MiB/s")
    for size in mebibytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.xml"
            searches = write_log(path, size)
            start = time.perf_counter()
            command = [sys.executable, "-c", READ, str(path), str(Path(folder) / "tables")]
            ran = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds = time.perf_counter() - start
        memory = ran.stdout.split()[-1]
        table.add_row(f"{size:,}", f"{searches:,}", memory, f"{size / seconds:.0f}")
    Console().print(table)


def write_log(path: Path, mebibytes: int) -> int:
    """Writes searches until the file has its size; returns how many."""
    rng = np.random.default_rng(0)
    searches = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("<sogou>\n")
        while file.tell() < mebibytes << 20:
            query = int(rng.integers(QUERIES))
            shown = (query * 5 + rng.permutation(3 * PAGE)[:PAGE]) % DOCUMENTS
            results = "".join(
                f'<result rank="{rank}"><url>http://example.org/{doc}</url><docid>d{doc}</docid>'
                f"<title>title of the document {doc} in some words</title><vtype>30000101</vtype>"
                "<relevance><TACM>0.1</TACM><PSCM>0.2</PSCM><THCM>0.3</THCM><UBM>0.4</UBM>"
                "<DBN>0.5</DBN><POM>0.6</POM></relevance></result>\n"
                for rank, doc in enumerate(shown, 1)
            )
            file.write(
                f'<session num="{searches}"><interaction num="1"><query>query {query}</query>'
                f"<query_id>{query}</query_id><results>{results}</results><clicked><click>"
                f"<rank>{1 + int(rng.integers(PAGE))}</rank></click></clicked></interaction>"
                "</session>\n"
            )
            searches += 1
        file.write("</sogou>\n")
    return searches


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
