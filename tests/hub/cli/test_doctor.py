"""What the doctor finds."""

from pathlib import Path

import pytest

from hub.cli import doctor
from hub.cli.doctor import Finding, find
from hub.settings import Settings


async def test_a_look_that_breaks_is_a_finding_and_the_others_go_on(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without rights must not hide what is wrong with the rest."""

    async def breaks(settings: Settings) -> list[Finding]:
        raise PermissionError(13, "Permission denied")

    async def works(settings: Settings) -> list[Finding]:
        return [Finding(part="other", state="ok", text="fine")]

    monkeypatch.setattr(doctor, "CHECKS", {"machine": breaks, "other": works})

    findings = await find(Settings(_env_file=None, data=data))

    assert [(one.part, one.state) for one in findings] == [
        ("settings", "ok"),
        ("machine", "fail"),
        ("other", "ok"),
    ]
    assert "Permission denied" in findings[1].text
