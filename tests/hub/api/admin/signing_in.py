"""What tests of signing in share: an operator of a server, who calls it with their own tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.operators.desk import Operators
from hub.operators.roles import Role
from hub.operators.store import Operator as Account
from tests.hub.api.admin.operating import PREFIX
from tests.hub.api.serving import Api
from tests.hub.operators.desk import PASSWORD

SESSION = f"{PREFIX}/session"
REFRESH = f"{SESSION}/refresh"


def operators_of(api: Api) -> Operators:
    """Return the operators of a server."""
    assert api.parts.admin is not None
    return api.parts.admin.operators


@dataclass
class Person:
    """Somebody with a browser or a program."""

    api: Api
    account: Account
    address: str = ""
    """From where; believed because the test is a proxy of the server's."""
    tokens: dict[str, Any] = field(default_factory=dict)

    async def sign_in(self, password: str = PASSWORD, **more: Any) -> tuple[int, Any]:
        """Sign in with name and password; keeps what was given."""
        body = {"name": self.account.name, "password": password, **more}
        status, answer = await self.send("POST", SESSION, body, token="")
        if status == 200:
            self.tokens = answer
        return status, answer

    async def refresh(self, refresh_token: str = "") -> tuple[int, Any]:
        """Ask for the next tokens; keeps what was given."""
        body = {"refresh_token": refresh_token or self.tokens["refresh_token"]}
        status, answer = await self.send("POST", REFRESH, body, token="")
        if status == 200:
            self.tokens = answer
        return status, answer

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Send a request with the token; returns status and answer, None where that is empty."""
        sent = {"X-Forwarded-For": self.address} if self.address else {}
        if given := self.tokens.get("access_token", "") if token is None else token:
            sent["Authorization"] = f"Bearer {given}"
        async with self.api.session.request(
            method, self.api.url + path, json=body, headers=sent | dict(headers or {})
        ) as response:
            return response.status, None if response.status == 204 else await response.json(content_type=None)


async def person(api: Api, name: str, role: Role, *, address: str = "") -> Person:
    """Make an operator who has not signed in yet."""
    return Person(api, await operators_of(api).store.add(name, role, PASSWORD), address)
