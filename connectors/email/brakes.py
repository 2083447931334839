"""When enough answers have gone to somebody: limits that hold whatever the headers of a mail say.

Two machines that answer each other may strip or forge every header. What they cannot hide is that they write often, write
the same, or quote our own Message-IDs.
"""

import asyncio
from datetime import datetime

from connectors.email.mail import ParsedMail
from connectors.email.state import digest
from connectors.email.threads import Thread
from connectors.store import Store
from hub.email_settings import EmailSettings

THREAD_LIMIT_S = 30 * 86_400.0
DAY_S = 86_400.0
WINDOW_KEPT_S = 8 * DAY_S
"""Longer than mail may have waited to be answered."""
MAX_SAME_IN_THREAD = 3
"""Answers to the same text in one thread in a day."""
MAX_SAME_OF_SENDER = 5
"""Answers to the same text of one sender in a day, for those whose threads cannot be told."""
MIN_TEXT_CHARS = 20
"""Shorter texts, such as "thank you", say nothing."""
MAX_OWN_REFERENCES = 10
MAX_OWN_WORDS = 1
"""Answers in a day to a sender whose mails begin and end as ours do and refer to none of ours: a hub behind a relay that
strips headers. A person's mail program keeps In-Reply-To."""

COUNTING_S = 5.0
"""What a process may take to count a mail."""
LOOK_EVERY_S = 0.05

SENDER_LIMITS = frozenset({"sender_10min_limit", "sender_day_limit"})


class Brakes:
    """Counts for one account who was answered how often."""

    def __init__(self, settings: EmailSettings, store: Store) -> None:
        self._settings = settings
        self._store = store

    async def verdict(self, key: str, mail: ParsedMail, thread: Thread, arrived_at: datetime) -> str:
        """Return why a mail gets no answer, in one word, or an empty string.

        Args:
            key: names the mail; it is counted once, however often it is looked at.
            arrived_at: when the server got it: what has waited while the hub was down is no burst.
        """
        counted_key = f"email:counted:{digest(key)}"
        if (verdict := await self._store.get(counted_key)) is not None:
            return verdict
        is_first = await self._store.claim(f"email:counting:{digest(key)}", COUNTING_S)
        # Another process that watches this mailbox is counting; unless it has died over it.
        if not is_first and (verdict := await self._told(counted_key)) is not None:
            return verdict
        verdict = await self._count(mail, thread, arrived_at)
        await self._store.set(counted_key, verdict, DAY_S)
        return verdict

    async def _told(self, counted_key: str) -> str | None:
        """Wait for another process's verdict, as long as it may take."""
        for _ in range(round(COUNTING_S / LOOK_EVERY_S)):
            await asyncio.sleep(LOOK_EVERY_S)
            if (verdict := await self._store.get(counted_key)) is not None:
                return verdict
        return None

    async def _count(self, mail: ParsedMail, thread: Thread, arrived_at: datetime) -> str:
        if mail.own_references > MAX_OWN_REFERENCES:
            return "own_references"
        for name, seconds, most, why in self._limits(mail, thread, arrived_at):
            if await self._store.increment(f"email:limit:{name}", seconds) > most:
                return why
        return ""

    def _limits(
        self, mail: ParsedMail, thread: Thread, arrived_at: datetime
    ) -> list[tuple[str, float, int, str]]:
        """Return the counters a mail counts for: name, lifetime, most, and what it is called to be above."""
        settings, who = self._settings, digest(thread.account, thread.participant)
        at_s = int(arrived_at.timestamp())
        limits = [
            (
                f"10min:{who}:{at_s // 600}",
                WINDOW_KEPT_S,
                settings.replies_per_sender_10min,
                "sender_10min_limit",
            ),
            (
                f"day:{who}:{at_s // 86_400}",
                WINDOW_KEPT_S,
                settings.replies_per_sender_day,
                "sender_day_limit",
            ),
            (f"thread:{thread.conversation}", THREAD_LIMIT_S, settings.replies_per_thread, "thread_limit"),
        ]
        if mail.has_own_words and not mail.own_references:
            limits.append((f"own_words:{who}", DAY_S, MAX_OWN_WORDS, "own_words"))
        text = " ".join(mail.text.lower().split())
        if len(text) >= MIN_TEXT_CHARS:
            said = digest(text)
            limits.append((f"said:{thread.conversation}:{said}", DAY_S, MAX_SAME_IN_THREAD, "same_text"))
            limits.append((f"said:{who}:{said}", DAY_S, MAX_SAME_OF_SENDER, "same_text"))
        return limits
