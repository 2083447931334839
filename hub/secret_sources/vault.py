"""Reads one secret of HashiCorp Vault's KV engine, version 2.

Source: Vault's HTTP API documentation, "KV - Secrets Engines, version 2" (read secret version), "AppRole", "HTTP status codes".
"""

import asyncio
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import orjson
from yarl import URL

from hub.errors import HubError, SettingsError
from hub.http_client import connection_fault
from hub.vault_settings import VaultSettings

MAX_BYTES = 4 << 20


class VaultUnavailable(HubError):
    """Vault cannot be asked now, and may be later: it is sealed, busy or away."""


def read_vault(settings: VaultSettings) -> Mapping[str, Any]:
    """Read the secret; blocks, and may be called where an event loop runs.

    Returns: its keys with their values: texts, or what was stored as JSON.

    Raises:
        SettingsError: Vault refuses, or holds no such secret.
        VaultUnavailable: it cannot be asked now.
    """
    with ThreadPoolExecutor(1, "vault") as threads:
        return threads.submit(asyncio.run, _Vault(settings).read()).result()


class _Vault:
    def __init__(self, settings: VaultSettings) -> None:
        self._settings = settings
        self._url = URL(settings.address.rstrip("/"))
        self._headers = {"X-Vault-Request": "true"}
        if settings.namespace:
            self._headers["X-Vault-Namespace"] = settings.namespace

    async def read(self) -> Mapping[str, Any]:
        settings = self._settings
        timeout = aiohttp.ClientTimeout(total=settings.timeout_s)
        connector = aiohttp.TCPConnector(ssl=_tls(settings))
        async with aiohttp.ClientSession(
            timeout=timeout, connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        ) as session:
            token = settings.token.get_secret_value() or await self._log_in(session)
            path = f"{settings.mount.strip('/')}/data/{settings.path.strip('/')}"
            answer = await self._ask(session, "GET", path, token=token)
        try:
            secret = answer["data"]["data"]
        except (KeyError, TypeError):
            secret = None
        if not isinstance(secret, dict):
            raise SettingsError(f"{self._shown} answers for {path} with no secret of a KV engine, version 2")
        return secret

    async def _log_in(self, session: aiohttp.ClientSession) -> str:
        settings = self._settings
        body = {"role_id": settings.role_id, "secret_id": settings.secret_id.get_secret_value()}
        answer = await self._ask(session, "POST", "auth/approle/login", body=body)
        try:
            return str(answer["auth"]["client_token"])
        except (KeyError, TypeError):
            raise SettingsError(f"{self._shown} does not let the AppRole in: it gives no token") from None

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        *,
        token: str = "",
        body: Mapping[str, str] | None = None,
    ) -> Any:
        headers = self._headers | ({"X-Vault-Token": token} if token else {})
        data = None if body is None else orjson.dumps(body)
        url = self._url.joinpath("v1", *path.split("/"))
        try:
            async with session.request(
                method, url, headers=headers, data=data, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise self._refusal(response, path)
                content = await self._body(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise VaultUnavailable(f"{self._shown} cannot be asked: {connection_fault(error)}") from None
        except ValueError:
            # Of a header with a line feed in it; the text would hold the token.
            raise SettingsError("vault: the token or namespace holds characters that none has") from None
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            raise SettingsError(f"{self._shown} is no Vault: it does not answer in JSON") from None

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Read an answer to its end, in however many packets it comes."""
        content = bytearray()
        async for part in response.content.iter_any():
            content += part
            if len(content) > MAX_BYTES:
                raise SettingsError(f"{self._shown} answers with more than {MAX_BYTES >> 20} MiB")
        return bytes(content)

    def _refusal(self, response: aiohttp.ClientResponse, path: str) -> HubError:
        # What it says is not repeated: an error of a proxy in between may hold the request.
        match response.status:
            case 404:
                return SettingsError(
                    f"{self._shown} holds no secret at {path}; vault.mount and vault.path say where, and the engine "
                    "must be KV, version 2"
                )
            case 403:
                return SettingsError(
                    f"{self._shown} refuses to show {path} (403): the token has run out, or its policy lacks "
                    f'`path "{path}" {{ capabilities = ["read"] }}`'
                )
            case 400:
                return SettingsError(
                    f"{self._shown} refuses {path} (400): check the namespace, role_id and secret_id"
                )
            case 301 | 302 | 307 | 308:
                place = response.headers.get("Location", "")
                host = URL(place).host if place.startswith("http") else ""
                return SettingsError(
                    f"{self._shown} redirects to {host or 'elsewhere'}: set vault.address to that"
                )
            case 503:
                return VaultUnavailable(f"{self._shown} is sealed or in maintenance (503); unseal it")
            case status if status == 429 or status >= 472:
                return VaultUnavailable(f"{self._shown} cannot answer now ({status})")
        return SettingsError(f"{self._shown} answers {path} with status {response.status}")

    @property
    def _shown(self) -> str:
        return f"Vault at {self._url.host}:{self._url.port}"


def _tls(settings: VaultSettings) -> ssl.SSLContext | bool:
    if not settings.ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise SettingsError(f"vault.ca_file: {settings.ca_file} cannot be read: {error.strerror}") from None
