"""Settings of operators: their passwords and sessions, and how long it is kept what they have changed."""

from typing import Annotated

from pydantic import Field

from hub.model_settings import Count, Table


class OperatorSettings(Table):
    """Who signs in to work on the hub."""

    access_minutes: Annotated[int, Field(ge=1, le=60)] = 10
    """How long an access token is good for; a client gets the next one with its refresh token."""
    idle_minutes: Count = 60
    """A session ends when its refresh token was not used for so long."""
    session_hours: Count = 12
    """After which an operator has to sign in again, whatever they do."""
    key_days: Count = 30
    """Age at which the key that signs access tokens is followed by a new one."""
    requests_per_minute: Count = 600
    """Requests of one operator, over all sessions."""
    password_min_chars: Annotated[int, Field(ge=8, le=128)] = 12
    """Shortest password; what it is made of is the operator's business."""
    password_memory_kib: Annotated[int, Field(ge=1024, le=4_194_304)] = 65_536
    """Memory that argon2 fills for one password."""
    password_passes: Annotated[int, Field(ge=1, le=20)] = 3
    password_lanes: Annotated[int, Field(ge=1, le=16)] = 4
    sign_ins_at_once: Annotated[int, Field(ge=1, le=64)] = 2
    """Passwords that one process checks at once; others wait, and more than ten times as many are refused."""
    audit_days: Annotated[int, Field(ge=0)] = 365
    """Entries of the audit log older than this are removed; 0 keeps them."""
