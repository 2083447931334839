"""Which pages may connect."""

import pytest

from connectors.web.origins import Origins, origin_of
from hub.errors import SettingsError


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://localhost:8080", "localhost:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://192.168.1.5:8080", "192.168.1.5:8080"),
        ("http://nas:8080", "nas:8080"),
        ("http://nas.local", "nas.local"),
        ("https://hub.example.org", "hub.example.org"),
        ("https://hub.example.org", "HUB.example.org"),
    ],
)
def test_own_page_is_always_welcome(origin: str, host: str) -> None:
    """The page and the socket come from the same host."""
    assert Origins((), "").site(origin, host) == "hub"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", "127.0.0.1:8080"),
        ("null", "127.0.0.1:8080"),
        ("http://127.0.0.1:8081", "127.0.0.1:8080"),
        ("http://127.0.0.1", "127.0.0.1:8080"),
        ("http://rebound.example:8080", "rebound.example:8080"),
        ("http://a b", "a b"),
        ("://", ""),
    ],
)
def test_other_pages_are_not(origin: str, host: str) -> None:
    """Among them a name of an attacker that points to this machine (DNS rebinding)."""
    assert Origins((), "").site(origin, host) is None


def test_public_url_is_the_hub_whatever_the_proxy_says() -> None:
    """Behind a proxy the Host header may be another one."""
    origins = Origins((), "https://hub.example.org/chat")

    assert origins.site("https://hub.example.org", "10.0.0.5:8080") == "hub"
    assert origins.site("http://127.0.0.1:8080", "127.0.0.1:8080") == "hub"
    assert origins.site("https://other.example", "other.example") is None


def test_allowed_origin_is_a_site_of_its_own() -> None:
    """Default ports and a final slash in the settings do not matter, browsers leave them out."""
    origins = Origins(("https://Shop.example:443/", "http://intranet:3000"), "")

    assert origins.site("https://shop.example", "hub.example.org") == "https://shop.example"
    assert origins.site("http://intranet:3000", "hub.example.org") == "http://intranet:3000"
    assert origins.site("https://shop.example:443", "hub.example.org") is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "*",
        "shop.example",
        "https://",
        "https://shop.example/page",
        "ftp://a",
        "https://a:b",
        "https://u@a",
    ],
)
def test_setting_that_is_no_origin_fails_at_start(url: str) -> None:
    """A typo is told with the name of the setting."""
    with pytest.raises(SettingsError, match=r"web\.allowed_origins"):
        origin_of(url, "web.allowed_origins")
