"""All settings in one frozen tree: settings.toml first, then `.env`, then `HUBBUB_*` environment variables on top.

`HUBBUB_TELEGRAM__TOKEN=...` sets `telegram.token`: two underscores step into a table. Secrets may also come from files
and from HashiCorp Vault (`hub.secret_sources`), each in one way only.
"""

import os
import re
import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hub.egress_settings import EgressSettings
from hub.email_settings import EmailSettings
from hub.errors import SettingsError
from hub.guard_settings import GapSettings, GuardSettings, ReviewSettings
from hub.logs import LogSettings
from hub.memory_settings import MemorySettings
from hub.model_settings import (
    BUNDLED_MODEL,
    Count,
    GgufSettings,
    MemorySize,
    ModelSettings,
    ProvisionSettings,
    RoleSettings,
    Seconds,
    Table,
    with_types,
)
from hub.operator_settings import OperatorSettings
from hub.redis_address import read_address
from hub.secret_sources.files import FOLDER_VARIABLE
from hub.secret_sources.gather import with_secrets
from hub.secret_sources.names import PREFIX, referring
from hub.secret_sources.variables import OwnDotEnv, OwnEnvironment
from hub.trace_settings import TraceSettings
from hub.vault_settings import VaultSettings
from hub.web_settings import WebSettings

ORIGIN = re.compile(r"https?://[a-z0-9.:\[\]-]+", re.ASCII)
"""As browsers send it: in small letters and without a path."""
PROJECT_ROOT = Path(__file__).resolve().parent.parent


class BusSettings(Table):
    """Redis and the ordered queue."""

    redis_url: SecretStr = SecretStr("")
    """`redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://`; empty starts the embedded server."""
    redis_server: str = ""
    """Path of the redis-server or valkey-server to embed; empty looks for one."""
    appendfsync: Literal["always", "everysec"] = "always"
    """`everysec` is faster and may lose up to 2 s of accepted messages in a power cut."""
    allow_unsafe_redis: bool = False
    """Start even though the external Redis would lose data when it is killed or full."""
    shards: Count = 1
    """Slots the conversations are spread over; change it only while the streams are empty."""
    min_replicas: Annotated[int, Field(ge=0, le=10)] = 0
    """Replicas that must have a message or answer before it counts as kept; with Sentinel or a Cluster."""
    max_backlog: Count = 10_000
    """Messages waiting per stream before new ones are refused."""
    max_lane: Count = 100
    """Messages waiting in one conversation before new ones are refused."""
    lease_s: Seconds = 30.0
    max_attempts: Count = 5
    """Attempts on one message before it becomes a dead letter."""
    history_turns: Count = 200
    """Turns kept in Redis for each conversation."""

    @field_validator("redis_url")
    @classmethod
    def _is_readable(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value():
            try:
                read_address(url.get_secret_value())
            except SettingsError as error:
                raise ValueError(str(error).removeprefix("bus.redis_url ")) from error
        return url


class ApiSettings(Table):
    """The HTTP server: API, widget and webhooks."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    public_url: str = ""
    """How the world reaches this server, `https://hub.example.org`; turns on the Telegram webhook."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks whose `X-Forwarded-For` is believed, right-most address first."""
    max_body_bytes: Count = 1_048_576
    read_timeout_s: Seconds = 10.0
    """Longest time for a request's head and body to arrive."""
    reply_timeout_s: Seconds = 120.0
    """Longest wait of `POST /chat` for its answer; the answer itself is not lost when it runs out."""
    metrics_networks: tuple[IPv4Network | IPv6Network, ...] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    """Networks that may read `/metrics`."""
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that may use the API; none: every one. Probes, metrics, the widget and webhooks are not part of it."""
    admin_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that may use the operators' routes; none: those of `allowed_networks`."""
    cors_origins: tuple[str, ...] = ()
    """Origins, `https://app.example.org`, whose pages may use the API with keys of their own; never the operators' routes."""
    docs: bool = True
    """Whether `/api/v1/openapi.json` and `/api/v1/docs` describe the API."""

    @field_validator("cors_origins")
    @classmethod
    def _name_each_origin(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [one for one in origins if not ORIGIN.fullmatch(one)]:
            raise ValueError(f"{wrong[0]} is no origin; one looks like https://app.example.org")
        return origins


class TierSettings(Table):
    """What keys of one tier may do."""

    limit: Count
    """Requests per window."""
    window_s: Annotated[int, Field(ge=1)] = 60
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Share of the model against other tiers when it is busy."""
    at_once: Count = 16
    """Requests of one key that a process answers at once; more are told to come again, so that no key takes all of an engine."""


def _default_tiers() -> dict[str, TierSettings]:
    return {
        "free": TierSettings(limit=10, at_once=4),
        "pro": TierSettings(limit=100, weight=4.0),
        "own": TierSettings(limit=1000, weight=8.0, at_once=256),
    }


class KeySettings(Table):
    """API keys."""

    tiers: dict[str, TierSettings] = Field(default_factory=_default_tiers)
    self_service: bool = True
    """Whether `POST /generate-key` hands out keys; when off, only operators and the command line do."""
    self_service_tiers: tuple[str, ...] = ("free", "pro")
    self_service_per_hour: Count = 20
    """Keys handed out to one network address in an hour."""
    self_service_per_minute: Count = 100
    """Requests of one network address in a minute with such keys, however many of them it has."""


class TelegramSettings(Table):
    """The Telegram connector; off until `token` is set."""

    token: SecretStr = SecretStr("")
    api_base: str = "https://api.telegram.org"
    webhook_secret: SecretStr = SecretStr("")
    """Empty derives one from the token."""
    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that may call the webhook, secret and all; empty: every one."""
    poll_timeout_s: Annotated[float, Field(ge=1, le=50)] = 30.0
    """How long Telegram holds a request for updates open while there are none."""
    stream: bool = True
    """Show the answer while it is generated."""
    edit_interval_s: Seconds = 1.5
    """Least time between two edits of a streamed answer."""
    give_up_s: Seconds = 86_400.0
    """How long an answer is retried while Telegram cannot be reached."""


def _default_models() -> dict[str, ModelSettings]:
    return {BUNDLED_MODEL: GgufSettings()}


class EngineSettings(Table):
    """The workers that answer."""

    model: str = BUNDLED_MODEL
    """Name in the registry `models` of the model that answers."""
    models_file: str = ""
    """A `models.json` whose entries join the registry; empty looks for one in the data folder."""
    roles: RoleSettings = RoleSettings()
    concurrency: Count = 64
    """Conversations one engine process works on at once."""
    memory_budget: MemorySize = ""
    """Memory that loaded models may take together, such as "8GB"; the least recently used is unloaded first. Empty:
    three quarters of this machine's."""
    idle_unload_s: Annotated[float, Field(ge=0)] = 0.0
    """Unload a model that nobody asked for so long; 0 keeps it."""
    channels_weight: Annotated[float, Field(gt=0, le=1000)] = 4.0
    """Share of the model of people on Telegram, mail and web, against the tiers of API keys."""
    warn_wait_s: Seconds = 3.0
    """A sender is told how long it will take when it is estimated to be longer."""
    cache_answers: bool = False
    """Answer the same prompt, at temperature 0, from the cache without being asked to."""
    cache_ttl_s: Seconds = 3600.0
    max_answer_tokens: Count = 200
    turn_timeout_s: Seconds = 120.0
    """Longest time for one answer before it is given back and tried again."""
    window_turns: Annotated[int, Field(ge=0)] = 6
    """Earlier turns shown to the model, as far as they fit."""
    receipts: Annotated[int, Field(ge=0, le=1000)] = 20
    """Answers of each conversation for which it is kept what they were made of; 0 keeps nothing."""


class KnowledgeSettings(Table):
    """Documents, chunks, embeddings and retrieval."""

    embedding_model: str = ""
    """Folder of a sentence-transformers model; empty means the bundled all-MiniLM-L6-v2."""
    embedding_runtime: Literal["auto", "torch", "onnx"] = "auto"
    """What computes it: PyTorch, or ONNX Runtime with whole numbers of 8 bits. `auto`: the bundled one by ONNX Runtime."""
    bundled_docs: bool = True
    """Keep the project's own README and docs in the knowledge base."""
    chunk_tokens: Count = 160
    passages: Count = 4
    """Passages looked at for one answer."""
    min_score: Annotated[float, Field(ge=-1, le=1)] = 0.40
    """How near documents must be to a question to answer it; below it they do not say."""
    max_document_bytes: Count = 26_214_400
    readers: Annotated[int, Field(ge=0, le=64)] = 0
    """Processes that read documents at once; 0: one for each core, four at most."""
    page_timeout_s: Seconds = 60.0
    """Within which a web page must have arrived."""
    web_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks beyond the public internet that pages and repositories may be fetched from."""
    max_repository_bytes: Count = 1_073_741_824
    index: Literal["faiss", "redis"] = "faiss"
    """Where vectors are found: in files of this machine, or in a Redis with the Query Engine, for many machines."""
    reranker: str = ""
    """Folder of a sentence-transformers cross-encoder that sorts the best passages anew; empty: none."""
    rerank_passages: Annotated[int, Field(ge=2, le=100)] = 20
    """Passages the re-ranker reads for one question."""
    search_cache_ttl_s: Annotated[float, Field(ge=0)] = 3600.0
    """How long what a search found is given again while the documents are the same; 0 turns it off."""
    warm_file: str = ""
    """File of queries that are searched for at start and after every change of the documents."""


ConnectorName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
"""Is also the name of a role, a stream and a route."""
_RESERVED_NAMES = frozenset({"api", "web", "telegram", "email", "engine"})


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="HUBBUB_",
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
    )

    data: Path = Path("data")
    """Folder for everything the hub keeps: Redis' files, the database, the vectors."""
    database_url: SecretStr = SecretStr("")
    """SQLAlchemy URL; empty means SQLite in the data folder."""
    drain_timeout_s: Seconds = 20.0
    """How long work in flight may take to finish after SIGTERM."""
    alive_file: str = ""
    """File that a process touches every 5 s while it works; empty: none."""
    bus: BusSettings = BusSettings()
    api: ApiSettings = ApiSettings()
    keys: KeySettings = KeySettings()
    operators: OperatorSettings = OperatorSettings()
    telegram: TelegramSettings = TelegramSettings()
    email: EmailSettings = EmailSettings()
    web: WebSettings = WebSettings()
    connectors: dict[ConnectorName, dict[str, Any]] = Field(default_factory=dict)
    """Further connectors by name; each checks its own table."""
    models: dict[str, ModelSettings] = Field(default_factory=_default_models)
    provision: ProvisionSettings = ProvisionSettings()
    engine: EngineSettings = EngineSettings()
    memory: MemorySettings = MemorySettings()
    knowledge: KnowledgeSettings = KnowledgeSettings()
    guard: GuardSettings = GuardSettings()
    gaps: GapSettings = GapSettings()
    review: ReviewSettings = ReviewSettings()
    log: LogSettings = LogSettings()
    traces: TraceSettings = TraceSettings()
    vault: VaultSettings = VaultSettings()
    egress: EgressSettings = EgressSettings()

    @field_validator("models", mode="before")
    @classmethod
    def _keep_the_bundled_model(cls, models: Any) -> Any:
        return with_types(models)

    @field_validator("connectors")
    @classmethod
    def _keep_names_apart(cls, connectors: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if taken := sorted(_RESERVED_NAMES & connectors.keys()):
            raise ValueError(f"{taken[0]} is the name of a part of the hub; choose another one")
        return connectors

    @property
    def models_path(self) -> Path:
        """The `models.json` whose entries join the registry; it need not exist."""
        return (
            Path(self.engine.models_file).expanduser()
            if self.engine.models_file
            else self.data / "models.json"
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over `.env`, and both over settings.toml (which arrives as init values)."""
        return OwnEnvironment(settings_cls), OwnDotEnv(settings_cls), init_settings


def load_settings(file: Path | None = None, **overrides: Any) -> Settings:
    """Read settings.toml, `.env` and the environment.

    Args:
        file: the TOML file; None takes `HUBBUB_SETTINGS`, else `settings.toml` of the working directory,
            else the one beside the packages.
        overrides: top-level fields that win over everything, such as `data` from the command line.

    Raises:
        SettingsError: a name is unknown, a value is out of range or a secret cannot be read; the text lists each path.
        VaultUnavailable: Vault is set, and cannot be asked now.
    """
    path = file or settings_file()
    try:
        values = tomllib.loads(path.read_text("utf-8")) if path else {}
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is not valid TOML: {error}") from error
    _refuse_unknown_variables()
    variables = {**dotenv_values(".env"), **os.environ}
    own = {name: value or "" for name, value in variables.items() if name.upper().startswith(PREFIX)}
    try:
        settings = Settings(**with_secrets(values, own, Settings))
    except ValidationError as error:
        raise SettingsError(_explain(error, path)) from error
    settings = settings.model_copy(
        update={name: value for name, value in overrides.items() if value is not None}
    )
    _know_the_model(settings, path)
    return settings


def settings_file() -> Path | None:
    """Say which settings.toml is read; None where there is none."""
    if named := os.environ.get("HUBBUB_SETTINGS"):
        return Path(named)
    candidates = (Path("settings.toml"), PROJECT_ROOT / "settings.toml")
    return next((path for path in candidates if path.is_file()), None)


def _refuse_unknown_variables() -> None:
    # pydantic-settings ignores variables it does not know, so a typo would pass in silence.
    known = {f"HUBBUB_{name}".upper() for name in Settings.model_fields} | {
        "HUBBUB_SETTINGS",
        FOLDER_VARIABLE,
    }
    for origin, names in (("environment", os.environ), (".env", dotenv_values(".env"))):
        for name in names:
            is_ours = name.upper().startswith(PREFIX) and not referring(name, Settings)
            if is_ours and name.split("__")[0].upper() not in known:
                raise SettingsError(f"variable {name} ({origin}): there is no such setting")


def _know_the_model(settings: Settings, path: Path | None) -> None:
    # Whether models.json holds it is seen by those who read that.
    if settings.engine.model not in settings.models and not settings.models_path.exists():
        known = ", ".join(sorted(settings.models))
        raise SettingsError(
            f"settings ({path or 'environment'}) are wrong:\n"
            f"  engine.model is {settings.engine.model!r}, but the tables [models.*] are: {known}"
        )


def _explain(error: ValidationError, path: Path | None) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in problem["loc"])
        what = "there is no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"  {where}: {what}")
    return f"settings ({path or 'environment'}) are wrong:\n" + "\n".join(lines)
