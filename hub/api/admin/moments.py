"""Times that operators ask for, read strictly: with a zone, and none that nobody means."""

from datetime import UTC, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from hub.api.schemas import Asked

_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _read(value: object) -> object:
    """Read ISO 8601; what is none is left for the next to refuse."""
    if not isinstance(value, str) or len(value) > 40:
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def _meant(at: datetime) -> datetime:
    if not _EARLIEST <= at < _LATEST:
        raise PydanticCustomError("no_such_time", "expected a time from 2000 to 2199")
    return at.astimezone(UTC)


Moment = Annotated[AwareDatetime, BeforeValidator(_read), AfterValidator(_meant)]
"""A time as ISO 8601 with its zone, such as `2026-01-31T12:00:00Z`."""


class SpanQuery(Asked):
    """From when to when."""

    since: Moment | None = None
    until: Moment | None = None
    """That moment excluded."""

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise PydanticCustomError("reversed", "`since` must lie before `until`")
        return self
