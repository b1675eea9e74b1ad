"""A collection prepared from a log, for the tests of all formats."""

from pathlib import Path
from xml.sax.saxutils import escape

from corpus.prepare import prepare
from corpus.sources import Source
from corpus.tables import Collection, read_collection


def prepared(source: Source, folder: Path) -> Collection:
    prepare(folder / "collection", source, held_out=0.0)
    return read_collection(folder / "collection")


def result(rank: int | str, doc_id: str, title: str) -> str:
    models = "".join(f"<{m}>0.5</{m}>" for m in ("TACM", "PSCM", "THCM", "UBM", "DBN", "POM"))
    return (
        f'<result rank="{rank}"><url>u</url><docid>{doc_id}</docid><title>{escape(title)}</title>'
        f"<vtype>1</vtype><relevance>{models}</relevance></result>"
    )
