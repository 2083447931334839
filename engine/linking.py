"""The commands by which a person joins their channels: `/link` gives a code, `/link CODE` redeems it, `/unlink` parts."""

from engine import replies
from engine.answers import Answer, Answers, Recollection, TextSink, TurnStats
from hub.commands import argument_of, command_of
from hub.messages import InboundMessage
from hub.people import CODE_TTL_S, People, Redeemed, identity_of, shown_code

_TOLD: dict[Redeemed, str] = {
    "joined": replies.LINKED,
    "unknown": replies.CODE_UNKNOWN,
    "self": replies.CODE_OF_THIS_CHANNEL,
    "too_many": replies.TOO_MANY_CODES,
}


class Linking:
    """Answers these commands itself, and hands everything else on."""

    def __init__(self, answers: Answers, people: People) -> None:
        self._answers = answers
        self._people = people

    async def answer(self, message: InboundMessage, recollection: Recollection, text: TextSink) -> Answer:
        """Answer one message.

        Raises: BusError: Redis is away.
        """
        command = command_of(message.text) if message.generation is None else ""
        if command not in ("/link", "/unlink"):
            return await self._answers.answer(message, recollection, text)
        said = await (self._link(message) if command == "/link" else self._unlink(message))
        await text.add(said)
        return Answer(kind="notice", text=said, stats=TurnStats(route="command"))

    async def _link(self, message: InboundMessage) -> str:
        if message.address.is_group:
            return replies.LINK_IN_PRIVATE
        if not identity_of(message.address):
            return replies.LINK_UNVERIFIED
        # The same for every attempt at this message.
        turn = message.external_key
        if code := argument_of(message.text):
            return _TOLD[await self._people.redeem(code, message.address, turn)]
        offered = await self._people.offer(message.address, turn)
        return replies.LINK_CODE.format(code=shown_code(offered), minutes=CODE_TTL_S // 60)

    async def _unlink(self, message: InboundMessage) -> str:
        parted = await self._people.part(message.address)
        return replies.UNLINKED if parted else replies.NOT_LINKED
