from tests.annotation.conftest import random_model, tokenizer

__all__ = ["random_model", "tokenizer"]
