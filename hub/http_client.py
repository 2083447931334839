"""What HTTP servers and connections say when something is wrong, for everything here that asks one."""

import email.utils
import os
from datetime import UTC, datetime

import aiohttp

from hub.egress.guard import EgressRefused


def retry_after_s(value: str) -> float:
    """Read a Retry-After header; 0 where there is none, or in words nobody understands."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def is_refused(error: BaseException) -> bool:
    """Tell whether the guard of connections has refused: trying again does not help, a setting does."""
    return isinstance(getattr(error, "os_error", error), EgressRefused)


def connection_fault(error: BaseException) -> str:
    """Say what went wrong on a connection, in words that hold nothing a server wrote and no secret."""
    if is_refused(error):
        return str(getattr(error, "os_error", error))
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "its certificate is not accepted"
        case TimeoutError():
            return "it fell silent"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError():
            return "it closed the connection"
        case OSError():
            number = getattr(getattr(error, "os_error", error), "errno", None)
            return os.strerror(number).lower() if number else "the connection failed"
        case aiohttp.ClientResponseError() | aiohttp.InvalidURL():
            return "what it sent is not HTTP"
    return type(error).__name__
