"""Who waits for an answer, and with what share of the model."""

from engine.requesters import requester_of
from hub.messages import Address, InboundMessage
from hub.settings import KeySettings


def test_people_on_channels_wait_for_themselves() -> None:
    """Two people of one bot are two, and all channels share one weight."""
    message = _message(Address(connector="telegram", account="bot", chat="1", person="4711"))

    requester = requester_of(message, tiers=KeySettings().tiers, channels_weight=4.0)

    assert (requester.audience, requester.person, requester.tier) == ("c", "telegram:bot:4711", "")
    assert (requester.weight, requester.returns) == (4.0, True)


def test_a_key_is_one_who_waits() -> None:
    """However many people its client asks for; a tier that is gone counts as a channel."""
    address = Address(connector="api", account="key-1", chat="s", person="s")
    tiers = KeySettings().tiers

    requester = requester_of(_message(address, "pro"), tiers=tiers, channels_weight=2.0)
    without = requester_of(_message(address, "gone"), tiers=tiers, channels_weight=2.0)

    assert (requester.person, requester.tier, requester.weight) == ("api:key-1", "pro", 4.0)
    assert without.weight == 2.0


def _message(address: Address, tier: str = "") -> InboundMessage:
    return InboundMessage(external_key="1", conversation="c", address=address, text="?", tier=tier)
