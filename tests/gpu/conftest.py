"""What needs CUDA: `make test-gpu` runs it, and elsewhere it is skipped with the reason."""

import pytest
import torch

from tests.annotation.conftest import collection_folder, random_model, tokenizer

__all__ = ["collection_folder", "random_model", "tokenizer"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    reason = f"PyTorch {torch.__version__} finds no GPU here"
    for item in items:
        if "gpu" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason=reason))
