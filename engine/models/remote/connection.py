"""Where the endpoints of a remote model are, and connections to them."""

import aiohttp
from yarl import URL

from hub.egress.derive import remote_rules
from hub.egress.guard import allow
from hub.errors import SettingsError
from hub.model_settings import RemoteSettings


def addresses(name: str, settings: RemoteSettings) -> list[URL]:
    """Return the addresses of a model's endpoints.

    Raises: SettingsError: one is not the address of an HTTP server, or the key is none.
    """
    if not settings.api_key.get_secret_value().isprintable():
        raise SettingsError(f"models.{name}.api_key holds characters that no key has")
    return [_checked(url, name) for url in settings.base_urls]


def open_session(settings: RemoteSettings) -> aiohttp.ClientSession:
    """Open connections that unpack and remember nothing by themselves."""
    # The entry may stand in models.json, which is read again while the hub runs.
    allow(remote_rules(settings.model, settings))
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "hubbub", "Accept-Encoding": "identity"},
        auto_decompress=False,
    )


def key_header(settings: RemoteSettings) -> dict[str, str]:
    """Return the header with the key; none where there is no key."""
    key = settings.api_key.get_secret_value()
    return {"Authorization": f"Bearer {key}"} if key else {}


def below(base_url: URL, path: str) -> URL:
    """Return an address below an endpoint's; joined as text, since a slash would replace the path of the base."""
    return URL(str(base_url).rstrip("/") + path)


def _checked(base_url: str, name: str) -> URL:
    try:
        url = URL(base_url)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host or url.query_string or url.fragment:
        raise SettingsError(
            f"models.{name}.base_urls: an address such as http://127.0.0.1:11434/v1 is expected in every entry"
        )
    if url.user or url.password:
        raise SettingsError(f"models.{name}.base_urls: the key belongs into api_key, not into the address")
    return url
