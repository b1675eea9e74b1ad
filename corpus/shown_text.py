"""Text from outside, made safe to show on a terminal or to keep in a file."""

import re
from typing import Any

HIDDEN = "***"
# Names of query parameters and settings that hold keys or passwords.
_SECRET_NAME = (
    r"(?:[\w.-]*[-_.])?(?:(?:x|api|access|account|shared|secret|subscription|private|awsaccess|"
    r"googleaccess)*(?:key|keyid|id_token|token|secret)|sig|signature|pass|passwd|password|pwd|auth|"
    r"authorization|credentials?|code)"
)
_NAMED_SECRET = re.compile(_SECRET_NAME, re.IGNORECASE)
_QUERY_SECRET = re.compile(rf"([?&;#]{_SECRET_NAME}=)[^&;#\s'\"]+", re.IGNORECASE)
# A password that holds '/', '?' or '#' ends a URL's host too soon; what is no port gives it away.
_USER_INFORMATION = re.compile(
    r"(?<=://)(?:[^\s/?#'\"]+|[^\s/?#@:\['\"]*:(?!\d*(?:[/?#\s'\"]|$))[^\s'\"]{0,500})@"
)


def printable(text: str) -> str:
    """The text with characters that control a terminal written as escapes.

    Line ends and tabs stay.

    >>> printable("red \\x1b[31m, back \\b, half \\ud83d")
    'red \\\\x1b[31m, back \\\\x08, half \\\\ud83d'
    """
    return "".join(
        character if character.isprintable() or character in "\n\t" else _escaped(character)
        for character in text
    )


def without_secrets(value: Any) -> Any:
    """A value of JSON without the passwords and keys that URLs and settings can hold.

    Hidden are the user information of a URL (https://user:password@host), the values of query
    parameters with the name of a key (?api_key=..., &sig=...), and texts under such a name.

    >>> without_secrets({"url": "https://me:pw@host/v1?token=7&page=2", "api_key": "k", "seed": 1})
    {'url': 'https://***@host/v1?token=***&page=2', 'api_key': '***', 'seed': 1}
    """
    if isinstance(value, str):
        shown = _USER_INFORMATION.sub(f"{HIDDEN}@", value)
        return _QUERY_SECRET.sub(rf"\1{HIDDEN}", shown)
    if isinstance(value, dict):
        return {
            name: HIDDEN
            if isinstance(item, str) and _NAMED_SECRET.fullmatch(str(name))
            else without_secrets(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
