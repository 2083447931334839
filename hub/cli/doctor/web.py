"""What others can reach: the public address, the proxy before it, self-service keys, and the pages that hold the widget."""

from urllib.parse import urlsplit

from hub.cli.doctor.channels import is_this_machine
from hub.cli.doctor.finding import Finding, fail, ok, warn
from hub.errors import SettingsError
from hub.settings import Settings


async def look_at_web(settings: Settings) -> list[Finding]:
    """Look at what the settings open to the world."""
    findings = [*_origins(settings), *_public_url(settings), *_proxy(settings), *_keys(settings)]
    return findings or [
        ok("web", "open to this machine alone" if not is_public(settings) else "open to others, as it is set")
    ]


def is_public(settings: Settings) -> bool:
    """Tell whether anybody but this machine reaches the hub."""
    host = urlsplit(settings.api.public_url).hostname or ""
    return not is_this_machine(settings.api.host) or bool(host and not is_this_machine(host))


def _origins(settings: Settings) -> list[Finding]:
    from connectors.web.origins import origin_of  # noqa: PLC0415

    named = [("web.allowed_origins", origin) for origin in settings.web.allowed_origins]
    named += [(f"web.sites, {site.key}", origin) for site in settings.web.sites for origin in site.origins]
    findings = []
    for setting, origin in named:
        try:
            found = origin_of(origin, setting)
        except SettingsError as error:
            advice = f'Set {setting.partition(",")[0]} to origins alone, such as "https://www.example.org": no path, no `*`.'
            findings.append(fail("web", str(error), advice))
            continue
        host = urlsplit(found).hostname or ""
        if found.startswith("http://") and not is_this_machine(host):
            text = f"{setting}: pages of {found} come without TLS, and anybody on the way can change them"
            findings.append(
                warn(
                    "web",
                    text,
                    f'Serve them by https, and set the origin to "{found.replace("http", "https", 1)}".',
                )
            )
    return findings


def _public_url(settings: Settings) -> list[Finding]:
    url = settings.api.public_url
    if not url:
        return []
    from connectors.web.origins import origin_of  # noqa: PLC0415

    try:
        origin_of(url, "api.public_url", with_path=True)
    except SettingsError as error:
        return [
            fail("public_url", str(error), 'Set `public_url = "https://hub.example.org"` in the table [api].')
        ]
    host = urlsplit(url).hostname or ""
    if url.startswith("http://") and not is_this_machine(host):
        text = f"{url} is not https: keys and messages can be read on the way"
        advice = 'Put a proxy with TLS before the hub, and set `public_url = "https://..."`; docs/deployment.md shows one.'
        return [warn("public_url", text, advice)]
    return []


def _proxy(settings: Settings) -> list[Finding]:
    # The hub speaks no TLS: who reaches it by https comes through a proxy.
    if not settings.api.public_url.startswith("https://") or settings.api.trusted_proxies:
        return []
    text = "api.public_url is https, so a proxy stands before the hub, and none is trusted: all visitors count as one address"
    advice = 'Set `trusted_proxies = ["127.0.0.1/32"]`, or the network of your proxy, in the table [api].'
    return [warn("proxy", text, advice)]


def _keys(settings: Settings) -> list[Finding]:
    if not (settings.keys.self_service and is_public(settings)):
        return []
    tiers = ", ".join(settings.keys.self_service_tiers)
    text = f"everybody who reaches the hub may get an API key ({tiers}) by POST /generate-key"
    return [warn("keys", text, "Set `self_service = false` in the table [keys], unless that is wanted.")]
