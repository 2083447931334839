"""The sequences of a context: which text each holds, and which one a new prompt gets so that little is computed twice."""

import secrets
from collections.abc import Collection, Mapping

import numpy as np

from engine.models.base import Requester
from engine.models.llama.context import LlamaContext
from engine.models.llama.costs import Rate, StepCosts
from engine.models.llama.prefixes import PrefixIndex
from engine.models.llama.saving import Saver
from engine.models.llama.sequence import Ahead, Sequence
from engine.models.llama.states import SavedState, SavedStates
from engine.models.llama.vocabulary import Tokens
from engine.models.templates import EncodedPrompt

_FEW_TOKENS = 8
"""Are computed again sooner than anything is copied, saved or waited for on their behalf."""

Holder = Sequence | SavedState


class Sequences:
    """Places prompts: in a sequence that begins with them, in a copy of one, or in what was saved of one."""

    def __init__(self, context: LlamaContext, costs: StepCosts, states: SavedStates) -> None:
        room = context.settings.context_length + 1
        self.all = [Sequence(number, np.zeros(room, np.int32)) for number in range(context.settings.parallel)]
        self._context = context
        self._costs = costs
        self._states = states
        self._index: PrefixIndex[Holder] = PrefixIndex()
        self._copying = Rate(2e9)
        self._saver = Saver(context, costs)
        self._uses = 0

    @property
    def has_free(self) -> bool:
        """Whether a prompt could be placed at all."""
        return not all(sequence.is_running for sequence in self.all)

    @property
    def memory_bytes(self) -> int:
        """What all sequences take, the saved ones included."""
        return len(self.all) * self._context.sequence_bytes + self._states.size_bytes

    def place(
        self, prompt: EncodedPrompt, tokens: Tokens, requester: Requester, *, own_key: str = ""
    ) -> Sequence | Ahead | None:
        """Give a prompt a sequence that holds as much of it as can be had for less than computing it.

        Args:
            prompt: what was asked.
            tokens: the prompt, and what was answered before it lost its sequence.
            requester: whose it is.
            own_key: what `suspend` gave when the request lost its sequence.

        Returns: the sequence, whose last token at least is pending; whom to wait for; or None when all are taken.
        """
        if not self.has_free:
            return None
        found = self._matches(prompt, tokens, own_key or requester.audience)
        if ahead := self._ahead(found):
            return ahead
        sequence = self._sequence_with(found)
        self._uses += 1
        sequence.used, sequence.is_running, sequence.returns = self._uses, True, requester.returns
        sequence.shared, sequence.audience = prompt.shared, requester.audience
        sequence.owner = requester.audience
        sequence.planned = sequence.computed
        sequence.append(tokens[sequence.computed :])
        self._remember(sequence)
        return sequence

    def known_tokens(self, prompt: EncodedPrompt, requester: Requester) -> int:
        """Count the tokens of a prompt that are computed, or just being computed for somebody."""
        return max(self._matches(prompt, prompt.tokens, requester.audience).values(), default=0)

    def release(self, sequence: Sequence) -> None:
        """Let others have a sequence; what it holds stays as long as nobody needs the room."""
        sequence.is_running = False
        self._uses += 1
        sequence.used = self._uses
        keep = sequence.computed if sequence.audience else min(sequence.shared, sequence.computed)
        self._keep(sequence, keep)

    def suspend(self, sequence: Sequence) -> str:
        """Let others have a sequence whose request will go on.

        Returns: a key by which that request finds what is left of it, and nobody else.
        """
        sequence.audience, sequence.returns = secrets.token_hex(16), True
        self.release(sequence)
        return sequence.audience

    def forget(self, owners: Collection[str]) -> None:
        """Let go of all that was computed for some audiences, but for what everybody shares.

        What still runs for one of them goes on, and is held for nobody afterwards.
        """
        for sequence in self.all:
            if sequence.owner not in owners:
                continue
            sequence.audience, sequence.owner, sequence.returns = "", "", False
            if sequence.is_running:
                self._remember(sequence)
            else:
                self._keep(sequence, min(sequence.shared, sequence.computed))
        for state in self._states.of(owners):
            self._forget(state)

    def undo(self) -> None:
        """Make llama.cpp hold nothing but what is known to be computed, after a step that was not finished."""
        for sequence in self.all:
            self._context.cut(sequence.id, sequence.computed)

    def drop_all(self) -> None:
        """Forget what all sequences hold, and take them from whoever has them."""
        self._context.clear()
        for sequence in self.all:
            sequence.is_running = False
            sequence.computed = sequence.planned = 0
            self._index.remove(sequence)

    def make_room(self) -> bool:
        """Empty one sequence that nobody uses; False when there is none."""
        held = [one for one in self.all if not one.is_running and one.computed]
        if held:
            self._shorten(min(held, key=lambda one: one.used), 0)
        return bool(held)

    def observe_copies(self, count: int, seconds: float) -> None:
        """Learn from a step that made copies how long they took."""
        self._copying.observe(count * self._context.sequence_bytes, max(seconds, 1e-3))

    def _matches(self, prompt: EncodedPrompt, tokens: Tokens, audience: str) -> Mapping[Holder, int]:
        if not self._context.is_cuttable:
            return {}
        # The last token is always computed: the first choice is made from its logits.
        shared = min(prompt.shared, len(tokens) - 1)
        return self._index.matches(tokens[:-1], shared=shared, audience=audience)

    def _ahead(self, found: Mapping[Holder, int]) -> Ahead | None:
        have = max((_usable(holder, length) for holder, length in found.items()), default=0)
        for holder, length in found.items():
            if isinstance(holder, Sequence) and holder.is_running and length - have > _FEW_TOKENS:
                return Ahead(holder, holder.used, length)
        return None

    def _sequence_with(self, found: Mapping[Holder, int]) -> Sequence:
        """Return a sequence that is not running and holds the most that is worth having."""
        gains = {
            holder: _usable(holder, length) - self._price(holder, _usable(holder, length))
            for holder, length in found.items()
        }
        best = max(gains, key=gains.__getitem__, default=None)
        if best is None or gains[best] <= 0:
            target = self._victim()
            self._shorten(target, 0)
            return target
        keep = _usable(best, found[best])
        if isinstance(best, SavedState):
            return self._restored(best, keep)
        target = best
        if best.is_running or self._loss(best, keep) > _FEW_TOKENS:
            target = self._victim(best)
        if target is best:
            self._shorten(best, keep)
            return best
        self._shorten(target, 0)
        self._context.copy(best.id, target.id, keep)
        target.tokens[:keep] = best.tokens[:keep]
        target.computed = target.planned = keep
        return target

    def _price(self, holder: Holder, length: int) -> float:
        """Say how many tokens could be computed while a match is brought where it is needed."""
        if isinstance(holder, SavedState):
            seconds = self._saver.restore_s(holder)
        elif not holder.is_running and self._loss(holder, length) <= _FEW_TOKENS:
            return 0.0
        else:
            seconds = self._copying.seconds(self._context.sequence_bytes)
        return max(_FEW_TOKENS, seconds / self._costs.prompt_token_s)

    def _victim(self, spared: Sequence | None = None) -> Sequence:
        """Choose the sequence that is missed least; neighbours with low ids are computed together."""
        idle = [one for one in self.all if not one.is_running and one is not spared]
        if not idle and spared is not None:
            return spared
        empty = next((one for one in idle if not one.computed), None)
        return empty or min(idle, key=self._regret)

    def _regret(self, sequence: Sequence) -> tuple[bool, int]:
        is_missed = self._loss(sequence, 0) > _FEW_TOKENS
        return (True, sequence.used) if is_missed else (False, sequence.id)

    def _loss(self, sequence: Sequence, keep: int) -> int:
        """Count the tokens somebody may miss when a sequence is cut."""
        if sequence.returns:
            return max(0, sequence.computed - keep)
        shared = min(sequence.shared, sequence.computed)
        if shared - keep <= _FEW_TOKENS or self._is_held_elsewhere(sequence, shared):
            return 0
        return shared - keep

    def _is_held_elsewhere(self, sequence: Sequence, length: int) -> bool:
        found = self._index.matches(sequence.tokens[:length], shared=length, audience="")
        return any(_usable(one, same) >= length for one, same in found.items() if one is not sequence)

    def _shorten(self, sequence: Sequence, keep: int) -> None:
        """Let a sequence forget what it holds from position `keep` on; what may be missed of it is saved."""
        if self._loss(sequence, keep) > _FEW_TOKENS:
            if not sequence.returns:
                self._cut(sequence, min(sequence.shared, sequence.computed))
            self._save(sequence)
        self._cut(sequence, min(keep, sequence.computed))

    def _save(self, sequence: Sequence) -> None:
        if (state := self._saver.save(sequence)) is None:
            return
        self._index.add(state, state.tokens, shared=state.shared, audience=state.audience)
        for dropped in self._states.add(state):
            self._index.remove(dropped)

    def _restored(self, state: SavedState, keep: int) -> Sequence:
        """Return an empty sequence after it was given as much of a saved one as could be read."""
        target = self._victim()
        self._states.use(state)
        self._shorten(target, 0)
        if self._context.is_moving(target.id):
            return target
        is_read = self._saver.restore(state, target)
        if is_read:
            self._cut(target, keep)
        # What belongs to an audience goes on in the sequence; what everybody shares is wanted again.
        if not is_read or keep > state.shared:
            self._forget(state)
        return target

    def _forget(self, state: SavedState) -> None:
        self._states.remove(state)
        self._index.remove(state)

    def _keep(self, sequence: Sequence, keep: int) -> None:
        self._cut(sequence, keep if self._context.is_cuttable else 0)
        # What nobody finds any more is somebody's text all the same.
        sequence.tokens[sequence.computed :] = 0

    def _cut(self, sequence: Sequence, keep: int) -> None:
        self._context.cut(sequence.id, keep)
        sequence.computed = sequence.planned = keep
        self._remember(sequence)

    def _remember(self, sequence: Sequence) -> None:
        text = sequence.tokens[: sequence.planned]
        self._index.add(sequence, text, shared=sequence.shared, audience=sequence.audience)


def _usable(holder: Holder, length: int) -> int:
    """Count the tokens of a match that are computed already."""
    return min(length, holder.computed if isinstance(holder, Sequence) else len(holder.tokens))
