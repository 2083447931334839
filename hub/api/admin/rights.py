"""What a key may hand out: never more than it may itself, in what it may do, how much, where and how long."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from hub.api.problems import Problem
from hub.keys import SCOPES, ApiKey
from hub.operators.roles import Role
from hub.settings import TierSettings


def check_rights(own: ApiKey | None, tiers: Mapping[str, TierSettings], wanted: Mapping[str, Any]) -> None:
    """Refuse rights that are more than one's own.

    Args:
        own: None: an operator who has signed in as an admin, and may hand out whatever there is.
        wanted: `tier`, `scopes`, `networks` and `expires_at` of the other key.

    Raises: Problem: 403.
    """
    if own is None:
        return
    is_within = (
        set(wanted["scopes"]) <= set(own.scopes)
        and _is_tier_within(tiers.get(wanted["tier"]), tiers.get(own.tier))
        and _are_networks_within(wanted["networks"], own.networks)
        and _is_over_before(wanted["expires_at"], own.expires_at)
    )
    if not is_within:
        raise Problem(403, "more_than_own", "This is more than your own key may.")


def check_may_admit(own: ApiKey | None, tiers: Mapping[str, TierSettings], role: Role) -> None:
    """Refuse to let an operator in who may more than a key: they come at any time and from everywhere, and an admin
    hands out every scope and every tier.

    Args:
        own: None: an operator who has signed in as an admin.
        role: of the other one.

    Raises: Problem: 403.
    """
    if own is None:
        return
    is_bounded = bool(own.networks) or own.expires_at is not None
    if role == "admin":
        is_bounded |= not set(SCOPES) <= set(own.scopes)
        is_bounded |= not all(_is_tier_within(tier, tiers.get(own.tier)) for tier in tiers.values())
    if is_bounded:
        raise Problem(403, "more_than_own", "This operator would be let in to more than your own key may.")


def _is_tier_within(wanted: TierSettings | None, own: TierSettings | None) -> bool:
    if wanted is None or own is None:
        # A tier that is gone lets nobody do anything.
        return wanted is None
    # Requests of a window are compared across windows of other lengths by their product with the other one.
    is_as_often = wanted.limit * own.window_s <= own.limit * wanted.window_s
    return is_as_often and wanted.weight <= own.weight and wanted.at_once <= own.at_once


def _is_over_before(wanted: datetime | None, own: datetime | None) -> bool:
    return own is None or (wanted is not None and wanted <= own)


def _are_networks_within(wanted: Sequence[str], own: Sequence[str]) -> bool:
    if not own:
        return True
    outer = [ip_network(network) for network in own]
    return bool(wanted) and all(any(_is_part(ip_network(one), of) for of in outer) for one in wanted)


def _is_part(network: IPv4Network | IPv6Network, of: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv4Network) and isinstance(of, IPv4Network):
        return network.subnet_of(of)
    if isinstance(network, IPv6Network) and isinstance(of, IPv6Network):
        return network.subnet_of(of)
    return False
