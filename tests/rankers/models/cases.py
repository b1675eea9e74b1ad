"""Small models for the tests of this folder, and what they are refused with."""

from collections.abc import Callable
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from corpus.errors import InputError


def classifier(config: type[PreTrainedConfig], **settings: Any) -> PreTrainedModel:
    settings["num_labels"] = 1
    return AutoModelForSequenceClassification.from_config(config(**settings))


def refusal(load: Callable[..., object], *given: object, **named: object) -> str:
    with pytest.raises(InputError) as caught:
        load(*given, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)
