"""The demo's judge as it is shipped: its checkpoint, and what it was made from.

    python -m annotation.demo_judge.shipped

trains it anew, in six to ten minutes on two cores, and puts it in the place of the old one.
"""

import ast
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import annotation.prompts
import corpus.simulation
from annotation.demo_judge.training import JudgeReport, JudgeTraining, train_judge
from annotation.engines.checkpoint_files import SHIPPED_JUDGE
from annotation.prompts.prompt import load_prompt

REPORT = "judge_report.json"
RECIPE = JudgeTraining()
# Folders whose files decide what a judge learns.
SOURCES = (
    Path(__file__).parent,
    *(Path(path) for room in (annotation.prompts, corpus.simulation) for path in room.__path__),
)
SUFFIXES = (".py", ".yaml")
# A judge reads no log: neither users nor the sample of judged queries decide what it learns, nor
# do other judges.
UNDECISIVE = (Path(__file__).name, "__init__.py", "user.py", "judged.py", "judge.py")


def demo_judge() -> Path:
    """The folder of the demo's judge; prints how well it grades.

    Returns:
        A normal Hugging Face checkpoint (Qwen2, bfloat16, safetensors) with its tokenizer and
        `judge_report.json`, see `read_report`.
    """
    report, _ = read_report(SHIPPED_JUDGE)
    print(
        f"the demo's judge: accuracy {report.accuracy:.2f} on {report.pairs:,} unseen pairs "
        f"(always the most frequent grade: {report.majority:.2f}), "
        f"quadratic kappa {report.quadratic_kappa:.2f}"
    )
    return SHIPPED_JUDGE


def ship_judge(folder: Path, training: JudgeTraining) -> JudgeReport:
    """Trains a judge and writes it, with its report, into a folder.

    Args:
        folder: where to write; what is there of an older judge is replaced.
        training: the recipe.

    Returns:
        How well it grades a world that it has not learned from.
    """
    made_from = fingerprint(training)
    report = train_judge(folder, training)
    content = asdict(report) | {"made_from": made_from}
    (folder / REPORT).write_text(json.dumps(content, indent=2) + "\n")
    return report


def read_report(folder: Path) -> tuple[JudgeReport, str]:
    """How well a judge grades, and the fingerprint of what it was made from."""
    content = json.loads((folder / REPORT).read_text())
    made_from = content.pop("made_from")
    return JudgeReport(**content), made_from


def fingerprint(training: JudgeTraining) -> str:
    """Changes with everything that a judge of this recipe depends on, but not with comments."""
    files = [
        path
        for folder in SOURCES
        for path in folder.iterdir()
        if path.suffix in SUFFIXES and path.name not in UNDECISIVE
    ]
    texts = [(path.suffix, path.read_text(encoding="utf-8")) for path in sorted(files)]
    content = [ast.dump(ast.parse(text)) if kind == ".py" else text for kind, text in texts]
    content += [repr(load_prompt()), repr(training)]
    return hashlib.sha256("\0".join(content).encode()).hexdigest()[:12]


if __name__ == "__main__":
    print(ship_judge(SHIPPED_JUDGE, RECIPE))
