"""Bodies of requests, read within limits: for every route that takes one."""

import asyncio

from aiohttp import web

from hub.errors import HubError


class BodyRefused(HubError):
    """The body is not read to its end.

    Args:
        status: 413 too large, 408 too slow, 400 cut off.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the body was refused with {status}")
        self.status = status


async def read_body(request: web.Request, *, max_bytes: int, timeout_s: float) -> bytes:
    """Return the body of a request.

    Raises: BodyRefused: it is larger, takes longer, or ends before its end.
    """
    if (request.content_length or 0) > max_bytes:
        raise BodyRefused(413)
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > max_bytes:
                    raise BodyRefused(413)
    except TimeoutError:
        raise BodyRefused(408) from None
    except (ConnectionError, web.RequestPayloadError, asyncio.IncompleteReadError):
        raise BodyRefused(400) from None
    return bytes(body)
