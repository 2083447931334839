"""Whatever was told by whom, where, and linked how: a prompt holds nothing that its reader should not see.

Ten thousand random histories; FAULT_SEED repeats a run.
"""

import os
import random
import secrets
import sys
from dataclasses import dataclass, field

import pytest

from engine.answers import Recollection
from engine.memory.conversation import ConversationMemory
from engine.models.llama.model import LlamaChatModel
from engine.profiles import profile_of
from engine.prompt import compose
from hub.bus.queue import Commit, Lease
from hub.messages import Address, InboundMessage, OutboundMessage, reply_id_of
from hub.model_settings import GgufSettings
from hub.people import People
from tests.engine.bench import Bench, said

HISTORIES = 10_000
STEPS = (3, 6)
PEOPLE = ("ana", "ben", "cleo")
CHANNELS = ("telegram", "email", "web")
SEED = int(os.environ.get("FAULT_SEED") or secrets.randbits(32))


@dataclass
class _World:
    """What a history has done so far, kept apart from the code under test."""

    told: dict[str, set[tuple[str, bool, str]]] = field(default_factory=dict)
    """Conversation to (identity, whether it was a group, canary)."""
    groups: list[set[str]] = field(default_factory=list)
    """Identities that are linked."""

    def allowed(self, conversation: str, identity: str, *, is_group: bool, is_verified: bool) -> set[str]:
        """Return the canaries that this person may see here."""
        here = {canary for _, _, canary in self.told.get(conversation, ())}
        if is_group or not is_verified:
            return here
        mine = next((group for group in self.groups if identity in group), {identity})
        return here | {
            canary
            for told in self.told.values()
            for other, was_group, canary in told
            if other in mine and not was_group
        }

    def join(self, one: str, other: str) -> None:
        """Link two identities and all that were linked with them."""
        mine = [group for group in self.groups if {one, other} & group]
        self.groups = [group for group in self.groups if group not in mine]
        self.groups.append({one, other}.union(*mine))

    def part(self, one: str) -> None:
        """Take one out again."""
        for group in self.groups:
            group.discard(one)
        self.groups = [group for group in self.groups if len(group) > 1]


class _Histories:
    """Plays random histories on a real Redis."""

    def __init__(self, bench: Bench, model: LlamaChatModel) -> None:
        self._bench = bench
        self._people = People(bench.bus.redis)
        self._memory = ConversationMemory(bench.bus, self._people, history_turns=20, recalled_turns=6)
        self._model = model
        self._profile = profile_of(GgufSettings())
        self.prompts = self.seen = 0

    async def play(self, number: int) -> None:
        """Play one, and look at the prompt of every turn."""
        dice, world = random.Random(f"{SEED} {number}"), _World()
        for step in range(dice.randint(*STEPS)):
            address = self._anybody(dice, number)
            identity = f"{address.connector} {address.person}"
            match dice.choice(("tell", "tell", "tell", "ask", "link", "unlink")):
                case "link" if address.is_verified and not address.is_group:
                    other = self._anybody(dice, number)
                    if other.is_verified and not other.is_group:
                        code = await self._people.offer(address, f"{number}.{step}")
                        if await self._people.redeem(code, other, f"{number}.{step}r") == "joined":
                            world.join(identity, f"{other.connector} {other.person}")
                case "unlink" if address.is_verified:
                    await self._people.part(address)
                    world.part(identity)
                case act:
                    canary = f"Q{number}x{step}x{dice.randrange(10**6)}" if act == "tell" else ""
                    await self._turn(address, world, identity, canary, f"{number}.{step}")

    async def _turn(self, address: Address, world: _World, identity: str, canary: str, key: str) -> None:
        conversation = f"{address.connector}-{address.chat}"
        text = f"My name is {canary}." if canary else "Who am I?"
        message = InboundMessage(external_key=key, conversation=conversation, address=address, text=text)
        published = await self._bench.bus.publish(message)
        lease = await self._bench.queue.enter(published.entry, conversation, "me")
        assert isinstance(lease, Lease)
        recalled = await self._memory.recall(message, lease.head)
        allowed = world.allowed(
            conversation, identity, is_group=address.is_group, is_verified=address.is_verified
        )
        shown = self._shown(recalled.recollection, text.replace(canary, "") if canary else text)
        found = {word for word in shown.replace(".", " ").split() if word.startswith("Q") and "x" in word}
        assert found <= allowed, f"seed {SEED}, history {key}: {found - allowed} leaked"
        self.prompts += 1
        self.seen += len(found)
        facts = {"name": f"The user's name is {canary}."} if canary else {}
        answer = said("noted", facts=facts)
        reply = OutboundMessage(
            reply_id=reply_id_of(lease.head),
            turn=lease.head,
            conversation=conversation,
            address=address,
            text="noted",
        )
        commit = Commit(self._memory.keep(message, answer, reply, recalled))
        await self._bench.queue.commit(lease, "me", commit)
        if canary:
            world.told.setdefault(conversation, set()).add((identity, address.is_group, canary))

    def _shown(self, recollection: Recollection, question: str) -> str:
        """Return the text of a prompt that is given all that was recalled."""
        prompt = compose(
            self._model,
            self._profile,
            list(recollection.facts.values()),
            question,
            answer_tokens=64,
            turns=recollection.turns,
            last_turns=6,
            summary=recollection.summary,
        )
        return "\n".join(message.text for message in prompt.messages)

    def _anybody(self, dice: random.Random, number: int) -> Address:
        person, connector = dice.choice(PEOPLE), dice.choice(CHANNELS)
        is_group = dice.random() < 0.3
        name = f"{person}{number}"
        return Address(
            connector=connector,
            account="a",
            chat=f"group{number}" if is_group else name,
            person=name,
            is_group=is_group,
            is_verified=dice.random() < 0.8 if connector == "email" else True,
        )


@pytest.mark.timeout(600)
async def test_no_prompt_holds_what_its_reader_should_not_see(bench: Bench, llama: LlamaChatModel) -> None:
    """I11: private facts and history never enter a group's prompt or another person's."""
    sys.stderr.write(f"\nprivacy: repeat with FAULT_SEED={SEED}\n")
    histories = _Histories(bench, llama)

    for number in range(HISTORIES):
        await histories.play(number)

    # It would be no test if there were nothing to see.
    assert histories.prompts > 2 * HISTORIES
    assert histories.seen > HISTORIES // 10
