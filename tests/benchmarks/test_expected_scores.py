"""Expected scores are made from studies, and told from those of other ones."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from benchmarks import expected_scores
from benchmarks.expected_scores import (
    BEGIN,
    END,
    PAGE,
    compare_study,
    describe_study,
    main,
    read_expected,
    with_tables,
)
from corpus.errors import InputError
from corpus.tables import write_parquet

WORDS = {"title": "a world", "command": "make it", "hardware": "a core", "tolerance": 0.01}


def _study(
    folder: Path, scores: dict[str, float], epochs: int = 1, tokens: int | None = None
) -> Path:
    """A study of one seed: scores on high and all queries, 0.1 apart; none on new ones."""
    rows = [
        {"ranker": ranker, "measure": measure, "bucket": group, "value": score + above}
        | {"queries": 0 if group == "new" else 4}
        for ranker, score in scores.items()
        for measure, above in (("nDCG@10", 0.0), ("AP", -0.3))
        for group, above in (("high", above + 0.1), ("all", above), ("new", above))
    ]
    (folder / "seed-0").mkdir(parents=True)
    write_parquet(pa.Table.from_pylist(rows), folder / "measures.parquet")
    batching = {"tokens_per_micro_batch": tokens}
    model = {"backbone": str(folder / "MiniLM")}
    training = {"epochs": epochs, "model": model, "batching": batching}
    settings = {"training": training, "model": str(folder)}
    record = {"job": "reproduce", "settings": settings, "complete": True}
    (folder / "job.json").write_text(json.dumps(record))
    return folder


def test_a_study_is_within_the_tolerance_or_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = WORDS | describe_study(_study(tmp_path / "a", {"click": 0.7, "fusion": 0.8}))
    assert entry["scores"] == {
        "click": {"high": 0.8, "all": 0.7},
        "fusion": {"high": 0.9, "all": 0.8},
    }
    near = compare_study(
        entry, _study(tmp_path / "b", {"click": 0.71, "fusion": 0.79}, tokens=2048)
    )
    assert near["within"].all()
    assert near["difference"].tolist() == [0.01, 0.01, -0.01, -0.01]
    assert capsys.readouterr().out == "", (
        "another folder of a model, or a default in words, is no other study"
    )
    far = compare_study(entry, _study(tmp_path / "c", {"click": 0.72}, epochs=2))
    assert not far["within"].any(), "too far, or not there"
    assert "its settings are" in capsys.readouterr().out
    with pytest.raises(InputError, match="holds no finished study"):
        compare_study(entry, tmp_path)


def test_an_entry_is_written_from_a_study_with_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    monkeypatch.setattr(expected_scores, "EXPECTED", tmp_path / "expected.yaml")
    monkeypatch.setattr(expected_scores, "PAGE", page)
    study = _study(tmp_path / "a", {"click": 0.7})
    with pytest.raises(InputError, match="'mine' is new; give it --title"):
        main(study, "mine", write=True)
    main(study, "mine", write=True, **WORDS)
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith("after\n")
    assert "| mine | a world | `make it` | 1 | a core | 0.01 |" in page.read_text()
    assert "| click | 0.800 / – / – / 0.700 |" in page.read_text()
    main(_study(tmp_path / "b", {"click": 0.6}), "mine", write=True)  # the words stay
    assert read_expected()["mine"]["hardware"] == "a core"
    with pytest.raises(SystemExit) as ended:
        main(study, "mine")
    assert ended.value.code == 1
    assert "largest difference 0.1000; 2 not within" in capsys.readouterr().out
    with pytest.raises(InputError, match="has no 'other', only mine"):
        main(study, "other")


def test_the_page_shows_what_is_expected() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, read_expected()) == page
    assert pd.notna(read_expected()["small"]["scores"]["fusion"]["all"])
