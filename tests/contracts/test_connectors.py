"""Every connector of the hub keeps the contract."""

from importlib.metadata import entry_points

import pytest

from connectors.parts import GROUP
from hub.app import CONNECTORS, roles_of
from hub.bus.bus import outbound
from hub.bus.keys import Keys
from hub.settings import Settings
from hubbub.testing import Channel, ConnectorContract, FarEndContract, ReaderContract
from tests.contracts import channels


class _OfThisPackage(ConnectorContract):
    async def test_the_name_is_that_of_module_and_stream(self, channel: Channel) -> None:
        """Who knows the name finds everything else."""
        name = channel.connector.name
        assert type(channel.connector).__module__.startswith(f"connectors.{name}")
        assert Keys().stream(outbound(name)) == f"hubbub:{{0}}:outbound:{name}"


class TestTelegram(FarEndContract, _OfThisPackage):
    """The Bot API."""

    channel_type = channels.Telegram


class TestEmail(FarEndContract, _OfThisPackage):
    """IMAP and SMTP."""

    channel_type = channels.Email


class TestHttp(FarEndContract, _OfThisPackage):
    """A program."""

    channel_type = channels.Http


class TestWeb(ReaderContract, _OfThisPackage):
    """The widget."""

    channel_type = channels.Web


class TestApi(ReaderContract, _OfThisPackage):
    """The HTTP API."""

    channel_type = channels.Api


def test_every_connector_has_a_class_here() -> None:
    """A new connector is held to the contract like the others."""
    offered = {point.name for point in entry_points(group=GROUP)}
    assert {name.removeprefix("Test").lower() for name in globals() if name.startswith("Test")} == {
        *CONNECTORS,
        *offered,
    }


@pytest.mark.parametrize("name", CONNECTORS)
def test_settings_table_and_role_carry_the_name(name: str) -> None:
    """`[telegram]` in settings.toml, `hubbub up --role telegram`."""
    assert name in Settings.model_fields
    assert name in roles_of(Settings())
