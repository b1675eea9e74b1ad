"""Templates that would fill the memory, never end or reach out, and templates that people write."""

import time
import tracemalloc

import pytest

from annotation.prompts import templates
from annotation.prompts.prompt import Document
from annotation.prompts.templates import compile_template

DOCUMENTS = [Document("One", "first body"), Document("Two", "second body")]
FIELDS = {
    "query": "night trains",
    "documents": DOCUMENTS,
    "title": "One",
    "body": "first body " * 100,
    "criterion": "0: bad\n3: good",
    "examples": (),
}
DOUBLINGS = {
    "text": ("'ab'", "{% set x = x ~ x %}"),
    "sum": ("'ab'", "{% set x = x + x %}"),
    "block": ("'ab'", "{% set x %}{{ x }}{{ x }}{% endset %}"),
    "list": ("[1]", "{% set x = [x, x] %}"),
    "tuple": ("(1,)", "{% set x = (x, x) %}"),
    "mapping": ("{}", "{% set x = {'a': x, 'b': x} %}"),
}


@pytest.fixture(autouse=True)
def small_purse(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds for a small purse holds for a larger one, later."""
    monkeypatch.setattr(templates, "MOST_MADE", 100_000)
    monkeypatch.setattr(templates, "MOST_SECONDS", 0.2)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 10**10 }}",
        "{{ 'x' * 10000000000 }}",
        "{{ 10000000000 * 'x' }}",
        "{{ [1] * 10000000000 }}",
        "{{ (1, 2) * 10000000000 }}",
        "{{ 'x' * (100000 * 100000) }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:>1000000000}' | format(1) }}",
        "{{ '{a:>1000000000}'.format_map({'a': 1}) }}",
        "{{ 'x' | center(10000000000) }}",
        "{{ 'x'.center(10000000000) }}",
        "{{ 'x'.ljust(10000000000) }}",
        "{{ 'x'['ljust'](10000000000) }}",
        "{{ 'x'.zfill(10000000000) }}",
        "{{ '\t'.expandtabs(10000000000) }}",
        "{{ (1).to_bytes(10000000000, 'big') }}",
        "{{ 1.5 | round(1000000000) }}",
        "{{ body | indent(10000000000) }}",
        "{{ body | wordwrap(1, true, body) }}",
        "{{ [1] | batch(10000000000, 'x') | list }}",
        "{{ [1, 2] | slice(10000000000) | list }}",
        "{{ [1, 2] | tojson(indent=10000000000) }}",
        "{{ documents | map('center', 10000000000) | list }}",
        "{{ body | replace('b', body) | replace('b', body) | replace('b', body) }}",
        "{{ body.replace('b', body).replace('b', body).replace('b', body) }}",
        "{{ (body | list) | join(body) | list | join(body) }}",
        "{% filter center(10000000000) %}x{% endfilter %}",
        "{{ lipsum(n=10000000) }}",
        "{{ range(99999) | list }}",
        "{% for a in body %}" * 3 + "{% endfor %}" * 3,
        "{% for a in body %}{% for b in body %}{{ body }}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) ~ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% for a in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
        *(f"{{% set x = {x} %}}{double * 60}{{{{ x }}}}" for x, double in DOUBLINGS.values()),
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{{ " + "9" * 5000 + " }}",
        "{% for x in documents %}" * 30 + "{% endfor %}" * 30,
        "{{ ''.__class__.__mro__ }}",
        "{{ documents.__class__ }}",
        "{{ documents[0]._replace(title='x') }}",
        "{{ documents.append(1) }}",
        "{% include 'x' %}",
        "{% extends body %}",
        "{{ 1 / 0 }}",
    ],
    ids=lambda source: source[:40],
)
def test_a_template_that_takes_too_much_or_reaches_out_fails_soon(source: str) -> None:
    started = time.process_time()
    tracemalloc.start()
    with pytest.raises(Exception, match=r"."):
        compile_template(source)(**FIELDS)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 30_000_000
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("{{ title.upper() ~ ': ' ~ body[:5] }}", "ONE: first"),
        ("{{ body.strip() | truncate(13) }}", "first..."),
        ("{{ '-' * 5 }}{{ 2 * documents | length }}{{ 7 // 2 }}{{ 7 % 4 }}", "-----433"),
        (
            "{% for d in documents | reverse %}{{ loop.index }}/{{ loop.length }} {{ d.title }}"
            "{{ ', ' if not loop.last }}{% endfor %}",
            "1/2 Two, 2/2 One",
        ),
        ("{% for d in documents if d.title == 'Two' %}{{ loop.index0 }}{% endfor %}", "0"),
        ("{% for t, b in documents %}{{ b }};{% endfor %}", "first body;second body;"),
        ("{% for d in documents %}{{ loop.cycle('a', 'b') }}{% endfor %}", "ab"),
        ("{% for d in [] %}{% else %}none{% endfor %}", "none"),
        ("{{ [title, documents[1].title] | select | join(' - ') }}", "One - Two"),
        ("{{ documents | map(attribute='title') | join(', ') }}", "One, Two"),
        ("{{ (documents | sort(attribute='title', reverse=true) | first).body }}", "second body"),
        (
            "{% macro show(d, n=1) %}[{{ n }}] {{ d.title }}{% endmacro %}"
            "{{ show(documents[1], n=2) }}",
            "[2] Two",
        ),
        ("{{ criterion | indent(2) }}", "0: bad\n  3: good"),
        ("{{ {'0': 'bad'}['0'] }}{{ {'a': 1}.items() | list }}", "bad[('a', 1)]"),
        ("{% set n = documents | length %}{{ n + 1 if n > 1 else 'one' }}", "3"),
        ("{{ documents | tojson }}", '[["One", "first body"], ["Two", "second body"]]'),
        ("{{ body | wordcount }} {{ body | replace('first ', '') | length }}", "200 500"),
    ],
)
def test_a_template_that_people_write_is_rendered(source: str, rendered: str) -> None:
    assert compile_template(source)(**FIELDS) == rendered


def test_each_rendering_has_a_purse_of_its_own_that_grows_with_its_fields() -> None:
    template = compile_template("{% for d in documents %}{{ d.body | trim }}{% endfor %}")
    long = [Document("", "x" * 50_000)] * 20
    for _ in range(5):
        assert len(template(documents=long)) == 1_000_000
