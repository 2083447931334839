"""The sites whose pages hold the widget: those of an origin alone, and those with a key, limits and a secret."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from connectors.web.origins import Origins, origin_of
from hub.web_settings import WebSettings, WebSiteSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a visitor is."""

    name: str
    """`hub`, an origin, or the key of a site that has one."""
    origins: frozenset[str] = frozenset()
    title: str = ""
    greeting: str = ""
    messages_per_day: int = 0
    messages_per_visitor_day: int = 0
    identity_secret: bytes = field(default=b"", repr=False)


class Sites:
    """All of them.

    Raises: SettingsError: an origin is none.
    """

    def __init__(self, settings: WebSettings, public_url: str) -> None:
        self._origins = Origins(settings.allowed_origins, public_url)
        self._named = [_named(site) for site in settings.sites]

    def of_page(self, origin: str, host: str) -> Site | None:
        """Return the site of a page that names no key; None when its origin alone is not welcome."""
        name = self._origins.site(origin, host)
        return None if name is None else Site(name=name)

    def named(self, key: str, origin: str) -> Site | None:
        """Return the site of this key; None when there is none, or it does not stand at this origin."""
        found = None
        wanted = key.encode("utf-8", "replace")
        for site in self._named:
            # Every site is looked at in full, so that an unknown key takes as long as a wrong origin.
            is_it = hmac.compare_digest(site.name.encode(), wanted)
            is_there = origin in site.origins
            if is_it and is_there:
                found = site
        return found

    def admits(self, origin: str, host: str) -> bool:
        """Tell whether some site stands at this origin."""
        return self.of_page(origin, host) is not None or any(
            origin in origins for origins in self._origins_of_named()
        )

    def _origins_of_named(self) -> Iterable[frozenset[str]]:
        return (site.origins for site in self._named)


def _named(site: WebSiteSettings) -> Site:
    return Site(
        name=site.key,
        origins=frozenset(origin_of(url, "web.sites.origins") for url in site.origins),
        title=site.title,
        greeting=site.greeting,
        messages_per_day=site.messages_per_day,
        messages_per_visitor_day=site.messages_per_visitor_day,
        identity_secret=site.identity_secret.get_secret_value().encode(),
    )
