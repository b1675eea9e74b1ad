from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.tables import Collection, write_collection
from rankers.evaluate import evaluate
from tests.conftest import make_table
from tests.rankers.conftest import save_model, tiny_bert


def test_what_cannot_be_compared_is_refused_before_anything_is_made(
    tiny_collection: Collection, tmp_path: Path
) -> None:
    folder, output = tmp_path / "collection", tmp_path / "out"
    write_collection(tiny_collection, folder)
    ranker, backbone = (save_model(tiny_bert(), tmp_path / name) for name in ("one", "two"))
    (backbone / "model.safetensors").unlink()
    for rankers, reason in [
        ({"../../escaped": ranker}, "the ranker name '../../escaped' has '/'"),
        ({"a/b": ranker}, "the ranker name 'a/b' has '/'"),
        ({"first_stage": ranker}, "'first stage' is the job's own"),
        ({"a b": ranker, "a_b": ranker}, "become one file name"),
        ({}, "give at least one ranker"),
        ({"good": ranker, "bad": backbone}, "two: cannot be loaded"),
    ]:
        with pytest.raises(InputError, match=reason):
            evaluate(folder, rankers, output, "train")
    with pytest.raises(InputError, match="split 'test' has candidates"):
        evaluate(folder, {"one": ranker}, output, "test")
    with pytest.raises(InputError, match="scorers must be at least 1"):
        evaluate(folder, {"one": ranker}, output, "train", scorers=0)
    with pytest.raises(InputError, match="cpus_per_scorer must be at least 0"):
        evaluate(folder, {"one": ranker}, output, "train", cpus_per_scorer=-0.5)
    for grades, reason in [
        ([("q1", "d1", 0), ("q1", "d2", 0)], "apart: none of 2 grades is above 0"),
        ([("q1", "d1", -1), ("q1", "d2", 0)], "apart: none of 2 grades is above 0"),
        ([("q1", "d1", 2), ("q1", "d2", 2)], "no two of its candidates differ in grade"),
        ([("q2", "d3", 2)], "has human judgments and candidates"),
    ]:
        judged = {name: getattr(tiny_collection, name) for name in vars(tiny_collection)}
        judged["judgments"] = make_table("judgments", list(grades))
        other = tmp_path / str(len(list(tmp_path.iterdir())))
        write_collection(Collection(**judged), other)
        with pytest.raises(InputError, match=reason):
            evaluate(other, {"one": ranker}, output, "train")
    assert not output.exists()
