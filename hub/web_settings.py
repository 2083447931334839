"""Settings of the web channel: the widget, and the sites whose pages hold it."""

from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator, model_validator

from hub.model_settings import Count, Table

SHORTEST_SECRET_BYTES = 32
"""Source: RFC 7518 section 3.2, a key of HS256 is at least as long as its hash."""

Cap = Annotated[int, Field(ge=0)]


class WebSiteSettings(Table):
    """One site whose pages hold the widget under a key of its own."""

    key: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]
    """What `data-site` of the script tag says; no secret."""
    origins: Annotated[tuple[str, ...], Field(min_length=1)]
    """Origins of the site's pages, `https://shop.example`."""
    title: str = ""
    """Empty: `web.title`."""
    greeting: str = ""
    """Empty: `web.greeting`."""
    messages_per_day: Cap = 0
    """Messages the whole site may send in a day; 0 sets no limit."""
    messages_per_visitor_day: Cap = 0
    """Messages one visitor may send in a day; 0 sets no limit."""
    identity_secret: SecretStr = SecretStr("")
    """Key by which the site's own server signs who a visitor is; empty: visitors of the site are never known."""

    @field_validator("key")
    @classmethod
    def _leave_the_hub_its_name(cls, key: str) -> str:
        if key == "hub":
            raise ValueError("hub is the name of the hub's own page")
        return key

    @field_validator("identity_secret")
    @classmethod
    def _refuse_short_secrets(cls, secret: SecretStr) -> SecretStr:
        size = len(secret.get_secret_value().encode())
        if 0 < size < SHORTEST_SECRET_BYTES:
            raise ValueError(f"has {size} bytes, at least {SHORTEST_SECRET_BYTES} are needed")
        return secret


class WebSettings(Table):
    """The widget and its WebSocket."""

    enabled: bool = True
    allowed_origins: tuple[str, ...] = ()
    """Origins, `https://www.example.org`, whose pages may hold the widget; the hub's own page always may."""
    title: str = "Hubbub"
    greeting: str = ""
    """Empty: a greeting in the language of the visitor."""
    max_text_chars: Count = 8_000
    messages_per_10s: Count = 20
    max_connections_per_address: Count = 50
    sites: tuple[WebSiteSettings, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(sites := values.get("sites"), list | tuple):
            return values
        keys = [str(site.get("key", "")) for site in sites if isinstance(site, dict)]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"{', '.join(twice)} is there more than once")
        return values
