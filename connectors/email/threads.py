"""Which conversation a mail belongs to: its thread, if the one who writes takes part in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, ValidationError

from connectors.email.mail import ParsedMail
from connectors.email.state import digest
from connectors.store import Store
from hub.messages import conversation_id
from hub.text import canonical_address

REMEMBERED_S = 180 * 86_400.0
"""How long an answer to an old mail still finds its thread."""


class Member(BaseModel):
    """What is remembered of one mail: the thread it belongs to."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    root: str
    participant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A thread between one mailbox of ours and one person."""

    account: str
    root: str
    """Message-ID of its first mail."""
    participant: str
    """The person's address."""
    is_continued: bool = field(default=False, compare=False)
    """Whether a mail refers to one of it, which only those who got or wrote one can."""

    @property
    def conversation(self) -> str:
        """Return the conversation's name; the participant is part of it, so nobody else can reach it."""
        return conversation_id("email", self.account, self.root, self.participant)


class Threads:
    """Remembers to which thread each Message-ID, received or sent, belongs."""

    def __init__(self, store: Store, account: str) -> None:
        self._store = store
        self._account = account

    async def find(self, mail: ParsedMail, fallback_root: str) -> Thread:
        """Return the thread a mail continues, or a new one.

        References and In-Reply-To are the sender's claim. They count only when the remembered thread is with
        this very address; a forged or foreign reference opens a new thread.
        """
        participant = canonical_address(mail.sender)
        for message_id in _newest_first(mail):
            if (member := await self._get(message_id)) is not None and member.participant == participant:
                return Thread(
                    account=self._account, root=member.root, participant=participant, is_continued=True
                )
        return Thread(account=self._account, root=mail.message_id or fallback_root, participant=participant)

    async def of(self, message_id: str) -> Thread | None:
        """Return the thread that a mail belongs to, if it is known."""
        member = await self._get(message_id)
        if member is None:
            return None
        return Thread(account=self._account, root=member.root, participant=member.participant)

    async def remember(self, message_id: str, thread: Thread) -> None:
        """Let later mail that refers to `message_id` find this thread."""
        if message_id:
            member = Member(root=thread.root, participant=thread.participant)
            await self._store.set(self._key(message_id), member.model_dump_json(), REMEMBERED_S)

    async def _get(self, message_id: str) -> Member | None:
        value = await self._store.get(self._key(message_id))
        try:
            return Member.model_validate_json(value) if value else None
        except ValidationError:
            return None

    def _key(self, message_id: str) -> str:
        return f"email:thread:{digest(self._account, message_id)}"


def _newest_first(mail: ParsedMail) -> Sequence[str]:
    return list(dict.fromkeys([*mail.in_reply_to, *reversed(mail.references)]))
