"""The library bm25s, without JAX.

Where JAX is installed, bm25s computes with it as soon as it is imported, and JAX then takes three
quarters of the memory of a GPU, which are wanted for engines and scorers. Where another module has
imported bm25s before this one, it has taken them already.
"""

import importlib
import sys
from typing import Any

__all__ = ["bm25s"]


def import_without(name: str, hidden: str) -> Any:
    """Imports a module that finds another one missing; who imports that one later finds it."""
    imported = sys.modules.get(hidden)
    sys.modules[hidden] = None  # type: ignore[assignment]
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[hidden]
        if imported is not None:
            sys.modules[hidden] = imported


bm25s: Any = import_without("bm25s", hidden="jax")
