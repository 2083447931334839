"""Bodies nobody thought of: each becomes one message or a refusal, soon, and the channel goes on."""

import asyncio
import contextlib
import json
import random
import sys

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.http.payloads import IncomingMessage
from hub.api.body import NotStrict, strict_json
from hub.messages import InboundMessage
from hubbub.testing import Inbound
from tests.connectors.http.program import Program, make_connector, message, post, serving
from tests.fuzzing import soon, tried

FIELDS = ["id", "conversation", "person", "text", "quoted", "language", "is_group", "replaces", "role"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.just("m1"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.text(min_size=1, max_size=60)
MESSAGES = st.fixed_dictionaries(
    {"id": WORDS | ANYTHING, "conversation": WORDS, "person": WORDS, "text": WORDS | ANYTHING},
    optional=dict.fromkeys(FIELDS[4:], WORDS | ANYTHING),
)
BODIES = st.binary(max_size=200) | MESSAGES.map(lambda value: json.dumps(value).encode())


@given(body=BODIES)
@tried(500)
def test_every_body_is_a_message_or_refused(body: bytes) -> None:
    """By one of two errors, and what is taken can lie on the bus."""
    inbound = soon(lambda: _read(body))
    if inbound is not None:
        assert InboundMessage.model_validate_json(inbound.model_dump_json()) == inbound


def _read(body: bytes) -> InboundMessage | None:
    with contextlib.suppress(NotStrict, ValidationError):
        return IncomingMessage.model_validate(strict_json(body)).inbound("http")
    return None


async def test_the_channel_outlives_arbitrary_bodies() -> None:
    """Signed and not, whole and cut: every answer is one of the protocol, and the next message is taken."""
    seed = random.SystemRandom().randrange(2**32)
    sys.stderr.write(f"seed {seed}\n")
    draw = random.Random(seed)
    program, inbound = Program(), Inbound()
    await program.start()
    connector = make_connector(program.callback_url)
    running = asyncio.create_task(connector.run(inbound.publish))
    await asyncio.sleep(0)
    whole = message()
    statuses = set()
    async with serving(connector) as url:
        for _ in range(300):
            cut = bytearray(whole[: draw.randrange(len(whole) + 1)])
            for _ in range(draw.randrange(4)):
                if cut:
                    cut[draw.randrange(len(cut))] = draw.randrange(256)
            statuses.add((await post(url, bytes(cut)))[0])
        status, _, _ = await post(url, message(id="after"))
    running.cancel()
    await asyncio.wait({running})
    await program.stop()

    assert statuses <= {202, 400, 422}
    assert status == 202
    assert any(key.endswith(":after") for key in inbound.accepted)
