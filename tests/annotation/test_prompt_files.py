"""Prompts in a store."""

from pathlib import Path

import pytest

from annotation.prompt_files import read_prompt
from corpus.errors import InputError
from corpus.places import Place, place_of, write_whole


def test_a_prompt_in_a_store_is_the_one_on_the_disk(store: Place, tmp_path: Path) -> None:
    texts = {
        "criterion.txt": "3: good\n",
        "mine.jinja": "{{ criterion }} {{ query }} {{ body }} {{ examples }}\r\n",
        "examples.yaml": "- {query: q, documents: [{body: b, grade: 3}]}\n",
    }
    prompts = []
    for place in (place_of(tmp_path), store):
        for name, text in texts.items():
            write_whole(place / name, text)
        criterion, template, examples = (place / name for name in texts)
        prompts.append(read_prompt("pointwise", "english", str(criterion), template, examples))
    assert prompts[0] == prompts[1]
    with pytest.raises(InputError, match=r"s3://.*there is nothing there"):
        read_prompt("pointwise", "english", str(store / "none.txt"), None, None)
