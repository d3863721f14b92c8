"""The HTTP client below OpenAI's: no reply takes longer or is larger than it may, however the server sends it."""

from __future__ import annotations

import asyncio
from typing import Any

from openai import APITimeoutError, DefaultAsyncHttpxClient

from melt_ser.annotation.engines import CallFailed

LARGEST_REPLY = 8 * 2**20  # bytes, unpacked; an answer has a few kilobytes, one with its thoughts a few hundred
LARGEST_FILE = 2**30  # bytes of a batch's answers
FILE_PATIENCE = 10  # a file may take that many times as long as a reply
UNPACKED = ("content-encoding", "content-length", "transfer-encoding")  # headers that are wrong for an unpacked reply


class BoundedClient(DefaultAsyncHttpxClient):
    """Read each reply as a whole within `seconds`, dripping ones too, and at most up to a size.

    Raises APITimeoutError, which OpenAI's client does not retry by itself, and CallFailed for a reply that is too
    large.
    """

    def __init__(self, seconds: float, follow_redirects: bool) -> None:
        super().__init__(timeout=None, follow_redirects=follow_redirects)
        self.seconds = seconds

    async def send(self, request: Any, **options: Any) -> Any:
        is_file = "/files" in request.url.path
        seconds = self.seconds * (FILE_PATIENCE if is_file else 1)
        try:
            async with asyncio.timeout(seconds):
                response = await super().send(request, **{**options, "stream": True})
                try:
                    content = await _read(response, LARGEST_FILE if is_file else LARGEST_REPLY)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise APITimeoutError(request=request) from None
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in UNPACKED]
        return type(response)(response.status_code, headers=headers, content=content, request=response.request)


async def _read(response: Any, largest: int) -> bytes:
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > largest:
            raise CallFailed(f"The server sends a reply of more than {largest // 2**20:,} MiB.")
    return bytes(content)
