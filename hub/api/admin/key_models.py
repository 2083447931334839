"""What requests about API keys hold, and what they are answered with."""

from collections.abc import Sequence
from datetime import date, timedelta
from ipaddress import ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hub.api.admin.moments import Moment
from hub.api.admin.paging import PageQuery
from hub.api.admin.ports import Shown
from hub.api.problems import FieldError, invalid_fields
from hub.api.schemas import Asked
from hub.key_tables import KeyFilter, KeyState
from hub.keys import LONGEST_OVERLAP, ApiKey, NewKey
from hub.messages import utc_now
from hub.text import normalise

MAX_LABEL_CHARS = 200
MOST_NETWORKS = 50
MOST_DAYS = 3_660
DEFAULT_DAYS = 30

Scope = Literal["models", "admin"]


def _checked_network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise PydanticCustomError("no_network", "expected a network such as 10.0.0.0/8") from None


def _checked_label(text: str) -> str:
    if text != normalise(text) or not text.isprintable():
        raise PydanticCustomError("no_label", "it holds characters that nobody can see")
    return text.strip()


def _day(value: object) -> object:
    try:
        return date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else value
    except ValueError:
        return value


NetworkText = Annotated[str, Field(max_length=50), AfterValidator(_checked_network)]
Networks = Annotated[tuple[NetworkText, ...], Field(max_length=MOST_NETWORKS, strict=False)]
Scopes = Annotated[tuple[Scope, ...], Field(max_length=10, strict=False)]
Label = Annotated[str, Field(max_length=MAX_LABEL_CHARS), AfterValidator(_checked_label)]
Tier = Annotated[str, Field(min_length=1, max_length=64)]
Day = Annotated[date, BeforeValidator(_day)]


class KeysQuery(PageQuery):
    """Which keys."""

    tier: Annotated[str, Field(max_length=64)] = ""
    label: Annotated[str, Field(max_length=MAX_LABEL_CHARS)] = ""
    """A part of what they are for, in whatever case."""
    scope: Scope | None = None
    state: KeyState | None = None

    @property
    def wanted(self) -> KeyFilter:
        """The same for the table."""
        return KeyFilter(tier=self.tier, label=self.label, scope=self.scope or "", state=self.state or "")


class KeyRequest(Asked):
    """What a new key may do."""

    tier: Tier
    label: Label = ""
    """What it is for."""
    scopes: Scopes = ()
    """What it may do beyond asking."""
    networks: Networks = ()
    """Where it may be used; none: everywhere."""
    expires_at: Moment | None = None
    """None: never."""


class KeyChanges(Asked):
    """What is to be otherwise; what is not named stays."""

    tier: Tier | None = None
    label: Label | None = None
    scopes: Scopes | None = None
    networks: Networks | None = None
    expires_at: Moment | None = None
    """null: never."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("nothing", "nothing is to be changed")
        if any(getattr(self, name) is None for name in self.model_fields_set - {"expires_at"}):
            raise PydanticCustomError("null", "only `expires_at` may be null")
        return self

    @property
    def values(self) -> dict[str, Any]:
        """What is named, as the store takes it."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class RotateRequest(Asked):
    """How a key gets its new secret."""

    overlap_s: Annotated[int, Field(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] = 86_400
    """Seconds for which the old one works as well; 0 ends all earlier ones at once."""


class UsageQuery(Asked):
    """Which days, in UTC."""

    first: Annotated[Day | None, Field(alias="from")] = None
    """None: 30 days up to the last one."""
    last: Annotated[Day | None, Field(alias="to")] = None
    """That day included; None: today."""

    def days(self, today: date) -> tuple[date, date]:
        """Return the first and the last day.

        Raises: Problem: 422 where they are no span, or a longer one than is told.
        """
        last = self.last or today
        first = self.first or last - timedelta(days=DEFAULT_DAYS - 1)
        if not date(2000, 1, 1) <= first <= last < date(2200, 1, 1) or (last - first).days >= MOST_DAYS:
            raise invalid_fields(FieldError("from", f"expected a day up to {MOST_DAYS} days before `to`"))
        return first, last


class KeyShown(Shown):
    """One key, without its secret and its digest."""

    id: str
    version: str
    """For `If-Match`; another after every change."""
    prefix: str
    """What its text begins with."""
    tier: str
    label: str
    scopes: tuple[str, ...]
    networks: tuple[str, ...]
    state: KeyState
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    rotated_at: AwareDatetime | None
    old_secret_until: AwareDatetime | None
    """Until when an earlier secret works as well."""
    last_used_at: AwareDatetime | None
    """To the minute."""

    @classmethod
    def of(cls, key: ApiKey) -> "KeyShown":
        """Tell of a key."""
        now = utc_now()
        names = (
            "id",
            "version",
            "tier",
            "label",
            "scopes",
            "networks",
            "created_at",
            "expires_at",
            "revoked_at",
        )
        values = {name: getattr(key, name) for name in (*names, "rotated_at", "last_used_at")}
        is_overlapping = key.old_secret_until is not None and now < key.old_secret_until
        state = "revoked" if key.revoked_at else "valid" if key.is_valid(now) else "expired"
        until = key.old_secret_until if is_overlapping else None
        return cls(**values, prefix=key.shown, state=state, old_secret_until=until)


class NewKeyShown(Shown):
    """A key with its secret, which is never shown again."""

    api_key: str
    key: KeyShown

    @classmethod
    def of(cls, made: NewKey) -> "NewKeyShown":
        """Show it, this once."""
        return cls(api_key=made.text, key=KeyShown.of(made.key))


class UsageShown(Shown):
    """What was asked with a key on one day of one model."""

    day: date
    model: str
    """Empty where no model was asked."""
    requests: int
    prompt_tokens: int
    answer_tokens: int


class UsageAnswered(Shown):
    """What was asked with a key."""

    first: date
    last: date
    requests: int
    """Messages that were answered, in all."""
    prompt_tokens: int
    answer_tokens: int
    items: Sequence[UsageShown]
