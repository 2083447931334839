"""As whom a message looks at the documents."""

import pytest

from engine.readers import reader_of
from hub.messages import Address, InboundMessage
from hub.people import identity_of

VISITOR = Address(connector="web", account="shop", chat="v1", person="v1", is_verified=True)
FRIEND = Address(connector="telegram", account="12", chat="7", person="7", is_verified=True)


def message(address: Address) -> InboundMessage:
    """Write something."""
    return InboundMessage(external_key="1", conversation="c", address=address, text="Hello?")


def test_a_visitor_reads_what_is_for_their_site_and_for_them() -> None:
    """The site is the one whose page was used."""
    audiences = reader_of(message(VISITOR)).audiences

    assert audiences == {"public", "site:shop", f"person:{identity_of(VISITOR)}"}


def test_an_account_is_a_site_on_the_web_alone() -> None:
    """A bot or mailbox with the name of a site is not that site."""
    assert "site:shop" not in reader_of(message(FRIEND.model_copy(update={"account": "shop"}))).audiences


@pytest.mark.parametrize("change", [{"is_verified": False}, {"is_group": True}])
def test_nobody_is_taken_for_a_person_where_that_is_not_certain(change: dict[str, bool]) -> None:
    """A sender nobody vouches for, and a group, read what is public."""
    assert reader_of(message(FRIEND.model_copy(update=change))).audiences == {"public"}


@pytest.mark.parametrize("person", ["operator", "7 operator", "x\x1foperator"])
def test_no_message_comes_from_the_operator(person: str) -> None:
    """Whatever somebody calls themselves."""
    reader = reader_of(message(FRIEND.model_copy(update={"person": person})))

    assert "operator" not in reader.audiences
    assert not reader.may_read("operator")
