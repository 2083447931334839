"""What the routes are made from, and what is known of one request."""

import asyncio
from dataclasses import dataclass, field

from aiohttp import web

from hub.api.admin.ports import AdminParts
from hub.api.lookups import SharedLookups
from hub.api.places import Places
from hub.bus.bus import Bus
from hub.bus.calls import Caller
from hub.citations import Citations
from hub.guard_settings import ReviewSettings
from hub.keys import ApiKey, KeyStore
from hub.limits import OwnLimits, RateLimits
from hub.live import Live
from hub.metrics import Metrics
from hub.provision.jobs import ProvisionJobs
from hub.settings import ApiSettings, KeySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """Everything the routes use; all of it is opened and run by others."""

    bus: Bus
    live: Live
    caller: Caller
    keys: KeyStore
    limits: RateLimits
    metrics: Metrics
    settings: ApiSettings
    key_settings: KeySettings
    jobs: ProvisionJobs | None = None
    """Fetches models; None where that is not offered."""
    citations: Citations | None = None
    """None where nobody knows the documents."""
    review: ReviewSettings = field(default_factory=ReviewSettings)
    admin: AdminParts | None = None
    """What operators work on; None where that is not offered."""
    own_limits: OwnLimits = field(default_factory=OwnLimits)
    """Counts what operators read while Redis is away."""
    places: Places = field(default_factory=Places)
    """Of keys whose requests are being answered."""
    lookups: SharedLookups[ApiKey | None] = field(default_factory=SharedLookups)
    """Keys that are being looked up."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to close: requests that wait for a reply end."""


@dataclass(slots=True, kw_only=True)
class Context:
    """What is known of one request while it is answered."""

    request_id: str
    key_id: str = ""
    """Whose request it is, once that was checked."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers its answer gets, whichever it is."""


CONTEXT = web.RequestKey("context", Context)
