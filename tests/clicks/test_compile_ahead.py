"""The set-up compiles what a pipeline needs for its log."""

import sys
from pathlib import Path

from numba.core.registry import CPUDispatcher

from clicks.compile_ahead import compile_ahead
from clicks.fit_clicks import fit_clicks
from corpus.prepare import prepare
from corpus.sources import SimulatedWorld


def compiled() -> dict[str, list[object]]:
    """The signatures that each function of clicks is compiled for."""
    return {
        f"{module.__name__}.{name}": list(value.signatures)
        for module in list(sys.modules.values())
        if module.__name__.startswith("clicks.")
        for name, value in vars(module).items()
        if isinstance(value, CPUDispatcher) and value.signatures
    }


def test_a_log_waits_for_nothing_to_be_compiled(tmp_path: Path) -> None:
    compile_ahead()
    before = compiled()
    assert len(before) > 5
    prepare(tmp_path / "collection", SimulatedWorld(60, 90, 400), seed=1)
    fit_clicks(tmp_path / "collection", tmp_path / "made", labels="PositionBasedModel", resamples=0)
    after = compiled()
    assert {name: after[name] for name in after if after[name] != before.get(name)} == {}
