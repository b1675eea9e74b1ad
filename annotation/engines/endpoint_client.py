"""A client of a server of chat completions: one request, without retries or redirects."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import openai

from annotation.engines.base import Secret
from annotation.engines.endpoint_failures import RequestError, failure_of, status_failure
from annotation.engines.endpoint_replies import one_line
from annotation.engines.endpoint_settings import EndpointSettings

# A thought of 16,000 tokens with the log-probabilities of 20 at each takes some 30 MiB.
MOST_BYTES = 64 * 2**20


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """An HTTP client that reads no reply beyond MOST_BYTES, unpacked."""

    async def send(self, request: Any, **options: Any) -> Any:
        """See `AsyncClient` of httpx.

        Raises:
            RequestError: the reply is longer.
        """
        response = await super().send(request, **options | {"stream": True})
        content = bytearray()
        try:
            async for some in response.aiter_bytes():
                content += some
                if len(content) > MOST_BYTES:
                    reason = f"the reply is longer than {MOST_BYTES // 2**20} MiB"
                    raise RequestError(reason, by_prompt=True)
        finally:
            await response.aclose()
        packed = ("content-encoding", "content-length", "transfer-encoding")
        headers = [(name, value) for name, value in response.headers.items() if name not in packed]
        return type(response)(
            response.status_code, headers=headers, content=bytes(content), request=request
        )


class ChatClient:
    """OpenAI's client, which repeats nothing and follows no redirect.

    Args:
        endpoint: the settings of the endpoint.
        secret: the key; none is sent if it is empty.

    Attributes:
        address: the URL that requests are sent to.
    """

    def __init__(self, endpoint: EndpointSettings, secret: Secret) -> None:
        parts = urlsplit(endpoint.url)
        path = parts.path.rstrip("/").removesuffix("/chat/completions")
        base = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self.address = f"{base}/chat/completions{parts.query and '?'}{parts.query}"
        self._timeout = endpoint.timeout
        self._client = openai.AsyncOpenAI(
            base_url=base,
            api_key=secret.value or "none",
            default_query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            timeout=endpoint.timeout,
            max_retries=0,  # each attempt is charged, so each is made by the engine
            http_client=BoundedClient(follow_redirects=False),
        )
        self._headers: dict[str, Any] = {}
        if endpoint.key_header or not secret.value:
            self._headers["Authorization"] = openai.Omit()
        if endpoint.key_header and secret.value:
            self._headers[endpoint.key_header] = secret.value

    async def post(self, body: dict[str, Any]) -> Mapping[str, Any]:
        """Sends a request and returns the chat completion that the server replies with.

        Args:
            body: the body of the request.

        Raises:
            RequestError: there is no reply, or it is no chat completion.
        """
        own = {name: body[name] for name in ("model", "messages")}
        rest = {name: value for name, value in body.items() if name not in own}
        try:
            async with asyncio.timeout(self._timeout):  # the client's own is of each read
                raw = await self._client.chat.completions.with_raw_response.create(
                    **own, extra_headers=self._headers, extra_body=rest
                )
            content = raw.content
        except (openai.OpenAIError, TimeoutError) as error:
            raise failure_of(error, self.address, self._timeout) from None
        try:
            completion = json.loads(content)
        except (ValueError, RecursionError):
            begins = one_line(content[:1000].decode(errors="replace"))[:80]
            reason = f"the reply is no JSON: {begins or 'it is empty'}"
            raise RequestError(reason, by_prompt=True) from None
        if not isinstance(completion, dict):
            raise RequestError("the reply is no chat completion", by_prompt=True)
        if completion.get("error") and not completion.get("choices"):
            told = completion["error"]
            code = str(told.get("code")) if isinstance(told, dict) else ""
            status = int(code) if re.fullmatch("[45][0-9]{2}", code) else 400
            raise status_failure(status, told, self.address, {})
        return completion
