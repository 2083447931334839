"""On whose behalf the assistant asks a model, and with what share of it."""

from collections.abc import Mapping

from engine.models.base import Requester
from hub.messages import InboundMessage
from hub.settings import TierSettings


def requester_of(
    message: InboundMessage, *, tiers: Mapping[str, TierSettings], channels_weight: float
) -> Requester:
    """Say who waits for the answer to a message of a conversation.

    Args:
        message: of any channel.
        tiers: of API keys; what came with a key has the weight of its tier.
        channels_weight: of the people on all other channels together.
    """
    address = message.address
    tier = tiers.get(message.tier)
    person = address.account if message.tier else f"{address.account}:{address.person}"
    return Requester(
        audience=message.conversation,
        person=f"{address.connector}:{person}",
        tier=message.tier,
        weight=tier.weight if tier else channels_weight,
        returns=True,
    )
