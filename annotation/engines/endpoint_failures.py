"""Why a request to a server of chat completions failed, and whether to ask again."""

import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

import openai

from annotation.engines.endpoint_replies import one_line

PASSING_STATUSES = (408, 409, 425, 429)
CLOSING_STATUSES = (401, 402, 404, 405)
# Error codes of servers whose filter refuses the content of a prompt or an answer.
FILTER_CODES = ("contentfilter", "contentpolicy", "responsibleaipolicy", "moderation")
NEVER_CONNECTED = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
LONGEST_WAIT = 600.0  # seconds that a server may ask to wait for before the job rather stops


class RequestError(Exception):
    """A request that brought no answer.

    Args:
        reason: the failure in one line, for the user.
        words: the error of the server, as text or JSON; the parameters that it refuses are looked
            for in it.
        passing: whether the same request may be answered later.
        busy: whether the server had too many requests (status 429).
        by_prompt: whether the failure may be the fault of this prompt.
        refused: whether a filter of the server refuses the content of this prompt.
        closing: whether no other request will be answered either.
        free: whether the request cost no tokens.
        wait: seconds after which the server wants the request again; None where it names no time.
    """

    def __init__(
        self,
        reason: str,
        words: str = "",
        passing: bool = False,
        busy: bool = False,
        by_prompt: bool = False,
        refused: bool = False,
        closing: bool = False,
        free: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.words = words
        self.passing = passing
        self.busy = busy
        self.by_prompt = by_prompt
        self.refused = refused
        self.closing = closing
        self.free = free
        self.wait = wait


def failure_of(error: Exception, address: str, timeout: float) -> RequestError:
    """Turns an error of OpenAI's client into a `RequestError`.

    Args:
        error: the exception of the client, or a TimeoutError.
        address: the URL that the request was sent to.
        timeout: the time limit of the request in seconds.
    """
    if isinstance(error, openai.APIStatusError):
        return status_failure(
            error.response.status_code, error.body, address, dict(error.response.headers)
        )
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        free = type(error.__cause__).__name__ in NEVER_CONNECTED
        return RequestError(f"no answer within {timeout:g} s (timeout)", passing=True, free=free)
    cause = error.__cause__ or error
    if isinstance(cause, RequestError):
        return cause
    reason = one_line(f"{address}: {type(cause).__name__} {cause}")
    return RequestError(reason, passing=True, free=type(cause).__name__ in NEVER_CONNECTED)


def status_failure(status: int, body: Any, address: str, headers: dict[str, str]) -> RequestError:
    """Turns a status other than 200 into a `RequestError`.

    Args:
        status: the HTTP status, or the code in a body that holds an error.
        body: the body of the reply, parsed where it is JSON.
        address: the URL that the request was sent to.
        headers: the headers of the reply, with names in lower case.
    """
    words = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    reason = f"HTTP {status}: {one_line(_message(body) or words) or 'without a reason'}"
    lower = words.lower()
    if 300 <= status < 400:
        target = one_line(headers.get("location", "another address"))
        return RequestError(
            f"HTTP {status}: {address} sends to {target}; prompts are sent to no address but the "
            "one that --engine.url names: give that one if it is right",
            closing=True,
            free=True,
        )
    if status in CLOSING_STATUSES or (status == 429 and "insufficient_quota" in lower):
        return RequestError(f"{reason} (asked: {address})", words, closing=True, free=True)
    if status in PASSING_STATUSES or status >= 500:
        wait = _asked_wait(headers)
        if wait is not None and wait > LONGEST_WAIT:
            reason = f"{reason} (asks to wait for {wait:,.0f} s)"
            return RequestError(reason, words, closing=True, free=status < 500)
        return RequestError(
            reason,
            words,
            passing=True,
            busy=status == 429,
            by_prompt=status >= 500,
            free=status < 500 and status != 408,
            wait=wait,
        )
    refused = any(code in lower.replace("_", "") for code in FILTER_CODES)
    return RequestError(reason, words, by_prompt=True, refused=refused, free=True)


def _message(body: Any) -> str:
    """The words for people in an error's body, wherever they stand; "" where there are none."""
    if isinstance(body, dict):
        for name in ("message", "detail", "msg", "error"):
            if body.get(name):
                return _message(body[name])
    if isinstance(body, list):
        return "; ".join(filter(None, map(_message, body)))
    return body if isinstance(body, str) else ""


def _asked_wait(headers: dict[str, str]) -> float | None:
    """Seconds that a server asks to wait for, from retry-after-ms or retry-after; else None."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) * unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        return max(
            parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time(), 0
        )
    except (ValueError, TypeError, OverflowError):
        return None
