"""What the other end's refusals mean, in words for who wanted a model."""

import aiohttp
from yarl import URL

from hub.http_client import retry_after_s

LONGEST_WAIT_S = 300.0
"""A server that asks for more is not waited for."""


def failed(status: int, url: URL, *, has_token: bool) -> str:
    """Say what a status means."""
    where = f"{url.host}{url.path}"
    match status:
        case 401 | 403 if has_token:
            return f"{where}: the token may not read this ({status}); does its owner have access to the repository?"
        case 401 | 403:
            return (
                f"{where}: there is no such repository, or it needs a token ({status}). "
                "HUBBUB_PROVISION__TOKEN in `.env` sets one."
            )
        case 404:
            return f"{where}: there is no such repository or file (404)"
        case 429:
            return f"{where}: too many requests for now (429)"
    return f"{where}: no answer ({status})"


def passing_pause_s(response: aiohttp.ClientResponse) -> float | None:
    """Return how long to wait before the same is asked again; None where that is of no use."""
    if response.status not in {408, 425, 429} and response.status < 500:
        return None
    wait_s = retry_after_s(response.headers.get("Retry-After", ""))
    return None if wait_s > LONGEST_WAIT_S else wait_s
