"""The text of a document, as search and ranking read it."""

import pyarrow as pa
import pyarrow.compute as pc


def document_text(documents: pa.Table) -> list[str]:
    """Title and body of each document as one text, with a blank between them."""
    return document_column(documents).to_pylist()


def document_column(documents: pa.Table) -> pa.Array:
    """The same as an Arrow array of large strings, since texts may fill gibibytes."""
    text = pa.large_string()
    title, body = (documents[name].cast(text) for name in ("title", "body"))
    return pc.binary_join_element_wise(title, body, pa.scalar(" ", text)).combine_chunks()
