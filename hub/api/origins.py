"""Whether a request comes from a page of the hub itself."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web


def is_own_page(request: web.BaseRequest, public_url: str, *, also: Sequence[str] = ()) -> bool:
    """Tell whether a request was not made by a page of another site.

    Programs name no origin. A browser does, for what can change something, and no page can choose it.

    Args:
        public_url: how the world reaches this server; may be empty.
        also: origins of other sites whose pages are as welcome.
    """
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() in {one.lower() for one in also}:
        return True
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    if origin is None:
        return True
    own = {f"http://{request.host}", f"https://{request.host}"}
    if public_url:
        parts = urlsplit(public_url)
        own.add(f"{parts.scheme}://{parts.netloc}")
    return origin.lower() in {one.lower() for one in own}
