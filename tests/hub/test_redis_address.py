"""Every form of `bus.redis_url` is read, and a wrong one is told without its password."""

from pathlib import Path

import pytest

from hub.errors import SettingsError
from hub.redis_address import read_address
from hub.settings import load_settings


def test_a_single_server_is_left_to_redis_py() -> None:
    """With its path, its options and its password."""
    for url in (
        "redis://host/0",
        "rediss://user:secret@host:6380/1?ssl_cert_reqs=none",
        "unix:///run/redis.sock",
    ):
        address = read_address(url)

        assert (address.kind, address.url) == ("single", url)
        assert "secret" not in address.shown


def test_sentinels_and_their_master_are_read() -> None:
    """The user and password before the hosts are the servers'; those of the sentinels stand behind."""
    address = read_address(
        "rediss+sentinel://ana:p%40ss@one,[::1]:26380/main?db=3&sentinel_password=s&ssl_check_hostname=no"
    )

    assert address.kind == "sentinel"
    assert address.nodes == (("one", 26379), ("::1", 26380))
    assert (address.master, address.tls) == ("main", True)
    assert address.options == {
        "ssl_check_hostname": False,
        "username": "ana",
        "password": "p@ss",
        "db": 3,
    }
    assert address.sentinel_options == {"ssl_check_hostname": False, "password": "s"}
    assert "p@ss" not in address.shown


def test_the_nodes_of_a_cluster_are_read() -> None:
    """Some of them are enough; the others are learnt from these."""
    address = read_address("redis+cluster://:secret@10.0.0.1:7000,10.0.0.2")

    assert (address.kind, address.tls) == ("cluster", False)
    assert address.nodes == (("10.0.0.1", 7000), ("10.0.0.2", 6379))
    assert address.options == {"password": "secret"}
    assert address.shown == "redis+cluster://10.0.0.1:7000,10.0.0.2:6379"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://host", "begins with 'http'; expected one of: redis://"),
        ("host:6379", "begins with 'host'"),
        ("redis+master://host", "begins with 'redis+master'"),
        ("redis://:secret@one:6379,two:6379", "names several servers"),
        ("redis+sentinel://:secret@one:26379", "names no master"),
        ("redis+sentinel://:secret@one:26379/a/b", "names no master"),
        ("redis+sentinel:///main", "names no host"),
        ("redis+sentinel://one/main?db=first", "asks for database 'first'"),
        ("redis+sentinel://one/main?bd=1", "asks for 'bd'; expected only: db"),
        ("redis+sentinel://one:port/main", "names the host 'one:port'"),
        ("redis+cluster://:secret@one/3", "a Cluster has database 0 only"),
        ("redis+cluster://one?db=1", "asks for 'db'"),
        ("redis+cluster://one?ssl_certfile=x", "needs rediss+cluster://"),
    ],
)
def test_a_wrong_url_says_what_was_expected(url: str, says: str) -> None:
    """And never shows a password, which would stand in the log then."""
    with pytest.raises(SettingsError) as told:
        read_address(url)

    assert says in str(told.value)
    assert "secret" not in str(told.value)


def test_a_wrong_url_stops_the_start(tmp_path: Path) -> None:
    """Named like every other setting, before anything is opened."""
    file = tmp_path / "settings.toml"
    file.write_text('[bus]\nredis_url = "redis+sentinel://host:26379"\n')

    with pytest.raises(SettingsError, match=r"bus\.redis_url: .*names no master"):
        load_settings(file)
