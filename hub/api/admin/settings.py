"""/api/v1/admin/settings: the settings in force, without what is secret."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from hub.api.actors import Actor
from hub.api.admin.paging import json_answer
from hub.api.admin.ports import AdminParts, Shown
from hub.api.auth import operators
from hub.api.body import read_query
from hub.api.routes import PREFIX, About, Answer, Gives, Route, Takes
from hub.api.schemas import NoQuery


class SettingsShown(Shown):
    """The settings in force."""

    settings: Mapping[str, Any]
    """As settings.toml has them; `***` stands for a secret that is set."""


class SettingsRoutes:
    """Settings."""

    def __init__(self, parts: AdminParts) -> None:
        self._shown = parts.settings

    def routes(self) -> list[Route]:
        """Return the routes."""
        about = About("settings", "Shows the settings in force, without what is secret.", "settings")
        gives = Gives(Answer(model=SettingsShown, says="The tree of settings."))
        path = f"{PREFIX}/admin/settings"
        return [Route("GET", path, self.show, operators("admin"), about, Takes(query=NoQuery), gives)]

    async def show(self, request: web.Request, who: Actor) -> web.Response:
        """Answer with the settings."""
        read_query(request, NoQuery)
        return json_answer(SettingsShown(settings=self._shown).model_dump(mode="json"))
