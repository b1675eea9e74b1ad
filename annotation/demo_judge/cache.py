"""The demo's judge, made once and kept in the user's cache."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import annotation.prompts
import corpus.simulation
from annotation.demo_judge.training import REPORT, JudgeReport, JudgeTraining, train_judge
from annotation.prompts.prompt import load_prompt

# Folders whose files decide what a judge learns, and so which judge it is.
SOURCES = (
    Path(__file__).parent,
    *(Path(path) for room in (annotation.prompts, corpus.simulation) for path in room.__path__),
)
SUFFIXES = (".py", ".yaml")
RECIPE = JudgeTraining()


def demo_judge(training: JudgeTraining = RECIPE) -> Path:
    """Finds the demo's judge in the user's cache, or trains it, in some minutes on two cores.

    Args:
        training: the recipe.

    Returns:
        A folder with a normal Hugging Face checkpoint (Qwen2, bfloat16), its tokenizer and
        `judge_report.json`, see `JudgeReport`.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tandem"
    folder = cache / f"judge-{_fingerprint(training)}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".judge-") as unfinished:
            train_judge(Path(unfinished) / "judge", training)
            try:
                (Path(unfinished) / "judge").rename(folder)
            except OSError:
                if not folder.exists():  # else another process was faster with the same judge
                    raise
    report = JudgeReport(**json.loads((folder / REPORT).read_text()))
    print(
        f"judge {folder}: accuracy {report.accuracy:.2f} on {report.pairs:,} unseen pairs (always "
        f"the most frequent grade: {report.majority:.2f}), "
        f"quadratic kappa {report.quadratic_kappa:.2f}"
    )
    return folder


def _fingerprint(training: JudgeTraining) -> str:
    """Changes with everything that the judge depends on."""
    files = [path for folder in SOURCES for path in folder.iterdir() if path.suffix in SUFFIXES]
    content = [path.read_bytes() for path in sorted(files)]
    content += [repr(load_prompt()).encode(), repr(training).encode()]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:12]
