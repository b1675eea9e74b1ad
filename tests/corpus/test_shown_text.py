import pytest

from corpus.shown_text import printable, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, größer, 问题 \u20ac\n\tindented", "plain, größer, 问题 \u20ac\n\tindented"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("C1 \x9b31m, return \r, delete \x7f, null \0", None),
        ("right to left \u202e, zero width \u200b, line \u2028", None),
        ("half a pair \udc9b", "half a pair \\udc9b"),
    ],
)
def test_nothing_that_is_shown_controls_the_terminal(text: str, shown: str | None) -> None:
    made = printable(text)
    assert made == (shown or made)
    assert all(character.isprintable() for character in made.replace("\n", "").replace("\t", ""))
    made.encode()  # whatever the text was, it can be written


@pytest.mark.parametrize(
    "text",
    [
        "https://user:SECRET@host/v1",
        "https://SECRET@host",
        "https://user:pass@SECRET@host",
        "s3://id:SECRET/x@bucket/folder",
        "say 'https://me:SECRET@host' and https://me:SECRET@other",
        "https://host/v1?page=2&api-key=SECRET",
        "https://host/v1?Subscription-Key=SECRET&page=2",
        "https://host/?X-Amz-Security-Token=SECRET",
        "https://host/?AWSAccessKeyId=SECRET",
        "https://host/c?sv=1&sig=SECRET%3D",
        "https://host/#access_token=SECRET",
        "AccountName=a;AccountKey=SECRET;EndpointSuffix=b",
    ],
)
def test_passwords_and_keys_are_hidden(text: str) -> None:
    assert "SECRET" not in without_secrets(text)
    assert without_secrets(without_secrets(text)) == without_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://host:8000/v1",
        "http://[::1]:8000/@me",
        "https://host/@me",
        "https://host?monkey=1&design=2&max_tokens=3",
        "a: https://host, me@host",
        "hf://models/a/b@main",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text
