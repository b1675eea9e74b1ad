from pathlib import Path

import pytest

from annotation.prompts import Prompt, load_prompt
from corpus.errors import InputError


def test_the_query_stands_before_the_document_so_that_documents_share_its_prefix() -> None:
    template = load_prompt("pointwise_relevance").compile()
    one = template.render(query="night trains", title="first title", body="first body")
    other = template.render(query="night trains", title="second title", body="second body")
    assert one.index("night trains") < one.index("first title") < one.index("first body")
    assert other.startswith(one[: one.index("first title")])


def test_text_that_looks_like_a_template_stays_text() -> None:
    text = "{{ 7 * 7 }} {% if true %} {{ body }} {# gone #} <b>&amp;</b>"
    rendered = load_prompt("pointwise_relevance").compile().render(query="q", title="t", body=text)
    assert text in rendered


def test_the_id_is_that_of_the_content() -> None:
    assert Prompt("{{ query }}").prompt_id == Prompt("{{ query }}").prompt_id
    assert Prompt("{{ query }}").prompt_id != Prompt("{{ query }} ").prompt_id


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{{ query }} {{ body }} {{ author }}", "unknown field 'author'"),
        ("{{ query }} {{ title }}", "no {{ body }}"),
        ("{{ query }}\n{{ body", "line 2"),
    ],
)
def test_a_prompt_that_will_not_do_is_refused(source: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(source)
    with pytest.raises(InputError, match=complaint) as error:
        load_prompt(str(path))
    assert str(path) in str(error.value)


def test_an_unknown_prompt_is_named_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"pointwise_relevanse.*pointwise_relevance"):
        load_prompt("pointwise_relevanse")
