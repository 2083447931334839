"""Frames nobody thought of: whatever comes is read or refused, and the socket goes on."""

import contextlib
import json
from typing import Any

from aiohttp import WSMsgType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.web.frames import ClientFrame, FrameError, dump, parse
from tests.connectors.web.edges import Bus, HubProcess
from tests.connectors.web.page import open_page
from tests.fuzzing import tried

KINDS = ["auth", "message", "resume", "stop", "history", "feedback", "got", "leave", "ping"]
FIELDS = ["token", "ticket", "language", "id", "text", "files", "turn", "have", "crc", "last", "conversation"]
FIELDS += ["value", "turns", "email", "role"]

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["", "up", "m1", "0" * 32]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FRAMES = st.fixed_dictionaries(
    {"t": st.sampled_from(KINDS) | ANYTHING}, optional=dict.fromkeys(FIELDS, ANYTHING)
).map(json.dumps)


@given(data=st.text() | FRAMES)
@tried(500)
def test_every_text_is_a_frame_or_an_error(data: str) -> None:
    """Nothing else is ever raised, and what the client is told can be sent."""
    try:
        frame = parse(data, max_text_chars=100)
    except FrameError as error:
        told: dict[str, Any] = json.loads(dump("err", code=error.code, **error.fields))
        assert set(told) <= {"t", "code", "id", "limit"}
    else:
        assert isinstance(frame, ClientFrame)


async def test_socket_outlives_arbitrary_frames(full_hub: HubProcess, bus: Bus) -> None:
    """Each is answered or ends the socket with a code of the protocol; the hub takes the next visitor."""
    frames: list[str] = []

    @given(examples=st.lists(FRAMES, min_size=5, max_size=10))
    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def collect(examples: list[str]) -> None:
        frames.extend(examples)

    collect()
    codes = set()
    for begin in range(0, len(frames), 40):
        async with open_page(full_hub) as page:
            with contextlib.suppress(ConnectionError):  # closed in the middle
                for frame in frames[begin : begin + 40]:
                    await page.socket.send_str(frame)
                await page.send(t="ping")
            while (message := await page.socket.receive()).type is WSMsgType.TEXT:
                if json.loads(message.data)["t"] == "pong":
                    break
            else:
                codes.add(page.socket.close_code)

    assert len(frames) > 200
    assert codes <= {4403, 1007, 1008}
    async with open_page(full_hub) as page:
        await page.ask("after")
