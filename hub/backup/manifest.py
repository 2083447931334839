"""What a backup says of itself: at its beginning who made it, at its end every part with its sum."""

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

FORMAT = 1
ABOUT = "backup.json"
MANIFEST = "manifest.json"
MAX_JSON_BYTES = 64 << 20


class About(BaseModel):
    """The first part: what is asked before anything is unpacked."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    version: str
    """Of the hub."""
    begun_at: AwareDatetime
    database: Literal["sqlite", "postgresql"]
    shards: int
    redis_version: str


class Part(BaseModel):
    """One part as it was written."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    size: int
    sha256: str


class Table(BaseModel):
    """One table of PostgreSQL."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    columns: tuple[str, ...]
    rows: int


class Database(BaseModel):
    """The SQL database as it was."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    revision: str
    """Of its tables."""
    tables: Mapping[str, Table] = Field(default_factory=dict)
    """Of PostgreSQL, in an order in which they can be filled."""
    sequences: Mapping[str, int] = Field(default_factory=dict)
    """The last numbers that were given: none is given twice, also after its row is gone."""


class Manifest(BaseModel):
    """The last part."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cut_at: AwareDatetime
    """When Redis was copied, by its clock: what happened later is not in the backup."""
    paused_s: float
    """How long writers had to wait for that."""
    keys: int
    """Of Redis."""
    database: Database
    parts: Mapping[str, Part]
    left_out: tuple[str, ...] = ()
    """What was not copied, by name: links, and models that can be fetched again."""
