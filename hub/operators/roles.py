"""What operators may do: each role may all that the one before it may."""

from typing import Literal, get_args

Role = Literal["viewer", "operator", "admin"]
"""Sees everything; changes documents, people and what waits; decides about operators, keys and settings, too."""
ROLES: tuple[Role, ...] = get_args(Role)


def includes(role: Role, needed: Role) -> bool:
    """Tell whether a role may what needs another one."""
    return ROLES.index(role) >= ROLES.index(needed)
