"""If-Match: a change is made only where what it changes is still as its author has seen it."""

import re

from aiohttp import web

from hub.api.problems import Problem

# Entity tags stand in quotation marks; whoever types one by hand forgets them.
_GIVEN = re.compile(r'"([!#-~]{1,100})"|([A-Za-z0-9._-]{1,100})', re.ASCII)


def wanted_version(request: web.Request) -> str:
    """Return the version that a change is made for, as answers tell it in `version`; empty where any will do.

    Raises: Problem: 400 where the header holds something else than one strong entity tag.
    """
    given = request.headers.getall("If-Match", [])
    if not given:
        return ""
    match = _GIVEN.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        raise Problem(400, "invalid_if_match", "If-Match holds one version.")
    return match[1] or match[2]


def stale() -> Problem:
    """Say that somebody else was quicker."""
    return Problem(412, "stale", "It is not what this change was made for any more; look at it again.")
