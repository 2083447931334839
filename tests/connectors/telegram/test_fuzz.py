"""No update can break the reading: it is understood, or it is Unreadable, and soon."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.telegram.events import Ignored, Incoming, Me, Membership, Moved, Pressed, WithoutText
from connectors.telegram.strict_json import Unreadable, parse
from connectors.telegram.updates import read
from tests.fuzzing import soon, tried

ME = Me(123456, "hub_bot")
KINDS = (
    "message",
    "edited_message",
    "callback_query",
    "my_chat_member",
    "stopped_message_generation",
    "poll",
)
NAMES = [
    "message_id",
    "date",
    "chat",
    "id",
    "type",
    "from",
    "is_bot",
    "first_name",
    "language_code",
    "text",
    "caption",
    "entities",
    "caption_entities",
    "offset",
    "length",
    "document",
    "photo",
    "voice",
    "file_id",
    "file_unique_id",
    "file_name",
    "mime_type",
    "file_size",
    "width",
    "height",
    "media_group_id",
    "reply_to_message",
    "quote",
    "position",
    "message_thread_id",
    "is_topic_message",
    "migrate_to_chat_id",
    "migrate_from_chat_id",
    "sender_chat",
    "new_chat_member",
    "status",
    "is_member",
    "data",
    "message",
    "reply_markup",
    "inline_keyboard",
    "callback_data",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.sampled_from(
        ["/start@hub_bot", "@hub_bot", "private", "supergroup", "kicked", "\ud800", "u:0-0:" + "A" * 16]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), inner)
    ),
    max_leaves=25,
)
MESSAGES = st.fixed_dictionaries(
    {
        "message_id": st.integers(0, 2**40) | SCALARS,
        "date": st.integers(0, 2**33) | SCALARS,
        "chat": st.fixed_dictionaries(
            {"id": st.integers(-(2**52), 2**52), "type": st.sampled_from(["private", "group", "supergroup"])}
        )
        | VALUES,
    },
    optional={name: VALUES for name in NAMES if name not in ("message_id", "date", "chat")},
)
UPDATES = st.dictionaries(
    st.sampled_from(KINDS) | st.text(max_size=8), MESSAGES | VALUES, max_size=2
).flatmap(
    lambda kinds: st.fixed_dictionaries(
        {
            "update_id": st.integers(0, 2**62) | SCALARS,
            **{name: st.just(value) for name, value in kinds.items()},
        }
    )
)


def _read(update: dict[str, Any]) -> None:
    with contextlib.suppress(Unreadable):
        event = soon(lambda: read(update, ME, stream=True))
        assert isinstance(event, Incoming | WithoutText | Ignored | Moved | Membership | Pressed)
        if isinstance(event, Incoming):
            assert Incoming.model_validate_json(event.model_dump_json()) == event


@tried(400)
@given(UPDATES)
def test_any_update_is_understood_or_unreadable(update: dict[str, Any]) -> None:
    """As polling delivers it: parsed already."""
    _read(update)


@tried(200)
@given(UPDATES)
def test_any_update_survives_the_strict_reading(update: dict[str, Any]) -> None:
    """As the webhook delivers it."""
    try:
        data = parse(json.dumps(update).encode())
    except Unreadable:
        return
    _read(data)


@tried(300)
@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_any_bytes_are_an_object_or_unreadable(body: bytes) -> None:
    """Nothing else comes out of the parser."""
    with contextlib.suppress(Unreadable):
        assert isinstance(soon(lambda: parse(body)), dict)
