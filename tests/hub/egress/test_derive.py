"""The allowlist that follows from settings: every destination that some setting names, and no other."""

import pytest
from pydantic import SecretStr

from hub.egress.derive import rules_of
from hub.email_settings import EmailSettings, MailAccountSettings
from hub.errors import SettingsError
from hub.guard_settings import GapSettings
from hub.model_settings import ProvisionSettings, RemoteSettings
from hub.settings import BusSettings, Settings, TelegramSettings
from tests.settings_tree import bare_environment


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    bare_environment(monkeypatch, tmp_path)  # type: ignore[arg-type]


def named(settings: Settings) -> set[tuple[str, str, bool]]:
    """Give what is allowed beyond the defaults."""
    known = set(rules_of(Settings()))
    return {(str(rule), rule.purpose, rule.is_scoped) for rule in rules_of(settings) if rule not in known}


def test_with_all_defaults_nothing_is_allowed_to_libraries() -> None:
    """Pages and models are fetched when the operator asks for them, by what fetches them, and all else is refused."""
    assert {rule.purpose for rule in rules_of(Settings())} == {"pages", "model hub", "ollama"}
    assert all(rule.is_scoped for rule in rules_of(Settings()))


def test_every_part_allows_what_it_names() -> None:
    """Channels, models, services, Redis and database, each with its port and purpose."""
    account = MailAccountSettings(
        address="help@example.org", imap_host="IMAP.example.org", smtp_host="smtp.example.org", smtp_port=587
    )
    settings = Settings(
        database_url=SecretStr("postgresql://me:p%40s?w@db.example.org/hub"),
        bus=BusSettings(redis_url=SecretStr("rediss://:s3cret@redis.example.org:6380/0")),
        telegram=TelegramSettings(token=SecretStr("1:a"), api_base="http://bots.example.org:8081"),
        email=EmailSettings(accounts=(account,)),
        models={"far": RemoteSettings(type="remote", base_urls=("https://a.example/v1", "http://[fd00::1]:80"), model="m")},
        connectors={"shop": {"callback_url": "https://shop.example/hook", "more": {"deep": ["wss://s.example/x"]}}},
        gaps=GapSettings(retrieval_url="https://find.example/q"),
        provision=ProvisionSettings(endpoint="https://mirror.example", ollama_url="http://gpu.example:11434"),
        egress={"allow": ["*.proxy.example:3128"]},
    )  # fmt: skip

    assert named(settings) == {
        ("db.example.org:5432", "database", False),
        ("redis.example.org:6380", "redis", False),
        ("bots.example.org:8081", "telegram", False),
        ("imap.example.org:993", "email help@example.org", False),
        ("smtp.example.org:587", "email help@example.org", False),
        ("a.example:443", "model far", False),
        ("[fd00::1]:80", "model far", False),
        ("shop.example:443", "connector shop", False),
        ("s.example:443", "connector shop", False),
        ("find.example:443", "gaps.retrieval_url", False),
        ("mirror.example:443", "model hub", True),
        ("gpu.example:11434", "ollama", True),
        ("*.proxy.example:3128", "egress.allow", False),
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u@/hub?host=/run/postgresql", set()),
        ("postgresql://u@/hub?host=a,b&port=1,2", {("a", "database", False), ("b", "database", False)}),
        ("postgresql://u@/hub?host=a:1&host=b:2", {("a", "database", False), ("b", "database", False)}),
        ("postgresql+psycopg://u@10.0.0.1:1/hub", {("10.0.0.1:1", "database", False)}),
        ("sqlite:////tmp/x.db", set()),
    ],
)
def test_databases_are_found_in_every_spelling(url: str, expected: set[tuple[str, str, bool]]) -> None:
    """Those of libpq and those of SQLAlchemy."""
    assert named(Settings(database_url=SecretStr(url))) == expected


def test_servers_that_redis_names_are_reached_by_its_clients_alone() -> None:
    """Sentinels and the nodes of a Cluster tell where the others are."""
    sentinels = Settings(bus=BusSettings(redis_url=SecretStr("redis+sentinel://:pw@a,b:7/main?db=0")))
    cluster = Settings(bus=BusSettings(redis_url=SecretStr("rediss+cluster://a:6380,[fd00::1]")))

    assert named(sentinels) == {("a:26379", "redis", False), ("b:7", "redis", False), ("*", "redis", True)}
    assert named(cluster) == {
        ("a:6380", "redis", False),
        ("[fd00::1]:6379", "redis", False),
        ("*", "redis", True),
    }


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        (Settings(bus=BusSettings(redis_url=SecretStr("redis://:hunter2/x@box:6379"))), "bus.redis_url"),
        (Settings(bus=BusSettings(redis_url=SecretStr("redis://:hunter2#x@box"))), "bus.redis_url"),
        (Settings(database_url=SecretStr("postgresql://u:hunter2@h:port/x")), "database_url"),
    ],
)
def test_an_address_that_cannot_be_read_is_not_repeated(settings: Settings, setting: str) -> None:
    """Redis' own client would show the password in its place."""
    with pytest.raises(SettingsError) as error:
        rules_of(settings)
    assert setting in str(error.value)
    assert "hunter2" not in f"{error.value!r} {error.value.__cause__!r}"
