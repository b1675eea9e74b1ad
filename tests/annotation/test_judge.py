import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from annotation.encoding import PromptEncoder
from annotation.judge import REPORT, JudgeReport, JudgeTraining, demo_judge, graded_pairs
from annotation.prompts import Document, load_prompt

SHORT = JudgeTraining(worlds=1, queries=40, documents=100, steps=5)


@pytest.mark.slow
def test_a_judge_is_made_once_and_is_a_normal_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = demo_judge(SHORT)
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert demo_judge(SHORT) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    assert [path.name for path in (tmp_path / "tandem").iterdir()] == [folder.name]

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert 0 < model.num_parameters() <= 3_000_000
    encoder = PromptEncoder(AutoTokenizer.from_pretrained(folder), load_prompt())
    [prompt] = encoder.encode([("night trains", [Document("title", "body")])], longest=511)
    assert torch.isfinite(model(torch.tensor([prompt.token_ids])).logits).all()


@pytest.mark.slow
def test_another_training_is_another_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert demo_judge(SHORT) != demo_judge(JudgeTraining(**(vars(SHORT) | {"steps": 6})))


@pytest.mark.slow
def test_the_demo_judge_sees_more_than_the_most_frequent_grade() -> None:
    report = JudgeReport(**json.loads((demo_judge() / REPORT).read_text()))
    assert report.accuracy > report.majority + 0.05
    assert report.quadratic_kappa > 0.5
    unseen = graded_pairs(JudgeTraining().unseen_seed, 200, JudgeTraining().documents)
    assert report.pairs == len(unseen.grades)
    assert report.majority == max((unseen.grades == grade).mean() for grade in range(4))
