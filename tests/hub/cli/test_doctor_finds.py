"""What an operator may have set wrongly, and what the doctor says of each: the part, the fault, and its cure."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.cli import doctor
from hub.cli.doctor import CHECKS, secrets_of
from hub.settings import Settings
from tests.hub.cli import planted_inside, planted_outside
from tests.hub.cli.bench import CASES, HUB, SECRET, Bench
from tests.servers import dovecot as dovecot_server
from tests.servers import smtp as smtp_server
from tests.servers.dovecot import Dovecot
from tests.servers.redis import RedisServer, free_port
from tests.servers.smtp import SmtpServer

PLANTED = (planted_inside, planted_outside)
"""Both enter their cases when they are imported."""


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server whose settings are changed."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    """A mailbox."""
    with dovecot_server.running(HUB) as server:
        yield server


@pytest.fixture(scope="module")
def smtp(dovecot: Dovecot) -> Iterator[SmtpServer]:
    """Where mail is handed in."""
    with smtp_server.running(dovecot) as server:
        yield server


@pytest.fixture
def bench(data: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A hub without a fault."""
    data.chmod(0o700)
    return Bench(data, monkeypatch, request)


@pytest.mark.parametrize("name", CASES)
async def test_each_misconfiguration_is_found_with_its_cure(
    name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the part where it lies, in a sentence, with a command or a setting as advice, and without a secret."""
    check, plant, state, part, words, cure = CASES[name]
    try:
        planted = plant(bench)
        if planted is not None:
            await planted
        values: dict[str, Any] = {"data": bench.data, "provision": {"token": SECRET}} | bench.settings
        settings = Settings(_env_file=None, **values)
        monkeypatch.setattr(doctor, "CHECKS", {check: CHECKS[check]})

        findings = await doctor.find(settings)
    finally:
        for close in bench.closing:
            await close()

    mine = [one for one in findings if one.part == part and one.state == state]
    assert mine, findings
    assert any(any(word in one.text for word in words.split("|")) and cure in one.advice for one in mine), (
        mine
    )
    for one in findings:
        assert one.advice or one.state == "ok", one
        assert not any(secret in one.text + one.advice for secret in secrets_of(settings)), one
        assert "Traceback" not in one.text
        assert "Error(" not in one.text


def test_there_are_many_of_them() -> None:
    """A table that shrinks is noticed."""
    assert len(CASES) >= 45


async def test_a_hub_without_faults_is_found_to_be_well(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the table is said of it."""
    bench.mailbox()
    await bench.bot()
    bench.settings["api"] = {"port": free_port()}
    monkeypatch.chdir(bench.data)
    looks = {name: check for name, check in CHECKS.items() if name not in ("engine", "models")}
    monkeypatch.setattr(doctor, "CHECKS", looks)

    try:
        findings = await doctor.find(Settings(_env_file=None, data=bench.data, **bench.settings))
    finally:
        for close in bench.closing:
            await close()

    assert {one.state for one in findings} == {"ok"}, findings


def test_settings_that_cannot_be_read_are_a_finding_too(data: Path) -> None:
    """A misspelt variable: JSON for machines, exit code 1, no traceback."""
    environment = os.environ | {"HUBBUB_TELEGARM__TOKEN": SECRET}
    command = [sys.executable, "-m", "hub", "doctor", "--json", "--data", str(data)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    [finding] = json.loads(done.stdout)
    assert (done.returncode, finding["part"], finding["state"]) == (1, "settings", "fail")
    assert "HUBBUB_TELEGARM__TOKEN" in finding["text"]
    assert "settings.toml" in finding["advice"]
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
