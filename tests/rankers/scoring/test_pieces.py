"""Lists are cut into pieces, which a scorer takes from file to file."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from corpus import by_query
from corpus.places import place_of
from rankers.scoring import pieces
from rankers.scoring.actors import PieceScorer
from rankers.scoring.pieces import (
    SCORES,
    CutPieces,
    cut_lists,
    pieces_left,
    pieces_of,
    read_piece,
    scored_piece,
)


def test_lists_are_cut_into_pieces_of_whole_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "MOST_PAIRS_PER_PIECE", 3)
    lengths = [1, 2, 1, 4, 3, 1, 1]
    lists = pa.table({"query": range(7), "doc_ids": [["d"] * length for length in lengths]})
    cut = [piece["query"].to_pylist() for piece in cut_lists(lists)]
    assert cut == [[0, 1], [2], [3], [4], [5, 6]]
    scored = scored_piece(
        pa.table({"query_id": ["a", "b"], "doc_ids": [["x", "y"], ["x"]]}),
        pa.array([3.0, 1.0, 2.0]),
    )
    assert scored.to_pydict() == {
        "query_id": ["a", "a", "b"],
        "doc_id": ["x", "y", "x"],
        "rank": [1, 2, 1],
        "score": [3.0, 1.0, 2.0],
    }


def test_a_scorer_goes_from_file_to_file(
    folder: Path,
    ranker: Path,
    scores: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pieces, "MOST_PAIRS_PER_PIECE", 200)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = place_of(folder)
    cut = CutPieces(place, tmp_path / "lists", None, None)
    sources = dict.fromkeys(("queries", "splits", "candidates"), place)
    assert cut(by_query.read_whole(sources, {})).to_pydict() == {
        "queries": [60],
        "pairs": [len(scores)],
        "repeated": [0],
    }
    names = pieces_of(tmp_path / "lists")
    assert len(names) > 1
    out = {"r": tmp_path / "r"}
    scorer = PieceScorer(
        {"r": str(ranker), "broken": str(tmp_path)}, place, tmp_path / "lists", out, SCORES
    )
    for name in names:
        scorer(pa.table({"ranker": ["r"], "piece": [name]}))
    found = pa.concat_tables(read_piece(out["r"] / name) for name in names)
    assert found.column_names == SCORES
    np.testing.assert_allclose(found["score"], scores, rtol=1e-5)
    assert list(pieces_left(names, out)) == []
    refused = scorer(pa.table({"ranker": ["broken"], "piece": [names[0]]}))
    assert refused.column_names == ["refusal"]
