"""What a visitor says of an answer after it was asked for: how good it is, that it arrived, where else it may go."""

from collections.abc import Sequence

from connectors.web.frames import FrameError, Got, Json, Judge, Leave
from connectors.web.services import Services
from connectors.web.visitors import Visitor


class Afterwards:
    """Obeys these frames of one visitor."""

    def __init__(self, services: Services, visitor: Visitor, address: str) -> None:
        self._services = services
        self._visitor = visitor
        self._address = address

    async def take(self, frame: Judge | Got | Leave) -> tuple[str, Json]:
        """Return type and fields of the frame that confirms it.

        Raises: FrameError: it cannot be obeyed. BusError: Redis is away.
        """
        match frame:
            case Judge():
                return await self._judge(frame)
            case Got(turns):
                await self._got(turns)
                return "pong", {}
            case Leave():
                return await self._leave(frame)

    async def _judge(self, judge: Judge) -> tuple[str, Json]:
        feedback, conversation = self._services.feedback, self._visitor.conversation
        if feedback is None:
            raise FrameError("unknown_type")
        turn = self._services.tokens.turn(conversation, judge.turn)
        if turn is None:
            raise FrameError("not_found")
        await feedback.feedback(turn, conversation, self._visitor.id, judge.value)
        return "feedback", {"turn": judge.turn, "value": judge.value}

    async def _got(self, handles: Sequence[str]) -> None:
        conversation = self._visitor.conversation
        for handle in dict.fromkeys(handles):
            if turn := self._services.tokens.turn(conversation, handle):
                await self._services.mailed.got(turn)

    async def _leave(self, leave: Leave) -> tuple[str, Json]:
        mailed = self._services.mailed
        if not mailed.is_on:
            raise FrameError("unknown_type")
        visitor = self._visitor
        # What the site has signed was not made up by whoever sits at the page.
        is_known = visitor.is_verified and visitor.email.lower() == leave.email.lower()
        if not await mailed.leave(visitor.conversation, leave.email, self._address, is_known=is_known):
            raise FrameError("day_limit")
        return "left", {"email": leave.email}
