"""The text of a document, as searching, annotating and ranking read it."""

import pyarrow as pa
import pyarrow.compute as pc


def document_text(documents: pa.Table) -> list[str]:
    """Title and body of each document as one text."""
    return pc.binary_join_element_wise(documents["title"], documents["body"], " ").to_pylist()
