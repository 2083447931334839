"""Asks models again what they were asked before: the same model, to see that it says the same, or another one.

Nobody notices: nothing is written to a stream, a memory or a cache.
"""

from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter

from engine.asked import Asked, Inputs, PromptDigest, digest_of
from engine.direct import fitted
from engine.memory.summary import Summary
from engine.models.base import ChatModel, End, GenerateOptions, ModelProvider, Prompt, Text
from engine.profiles import Profile, profile_of
from engine.prompt import compose
from engine.receipts import AnswerReceipt
from hub.bus.history import History
from hub.errors import HubError
from hub.messages import Turn
from hub.model_registry import ModelRegistry

_SHOWN_CHARS = 60
_KEPT_TURNS = 10_000


class CannotReplay(HubError):
    """A request cannot be made again; the text says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One request, made again."""

    model: str
    is_same_model: bool
    """Settings and files are those of then."""
    prompt: PromptDigest
    is_same_prompt: bool
    """Token for token; text for text where another server has the vocabulary."""
    answer: str
    is_same_answer: bool
    """Byte for byte, as far as the model was let speak then."""
    differences: tuple[str, ...] = ()
    """In words; none where all is the same."""
    took_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """The answers of two models to one request of a turn."""

    turn: str
    conversation: str
    question: str
    then: str
    now: str = ""
    error: str = ""
    took_s: float = 0.0

    @property
    def is_same(self) -> bool:
        """Whether both say the same."""
        return not self.error and self.then == self.now


@dataclass(slots=True)
class Replay:
    """Makes requests again.

    Args:
        models: loads them.
        registry: tells how they want to be spoken to.
        history: holds the turns that prompts refer to.
    """

    models: ModelProvider
    registry: ModelRegistry
    history: History
    max_answer_tokens: int
    identities: dict[str, str] = field(default_factory=dict)
    """Digests of models, by name; of one that stands not here nothing is said."""

    async def replay(self, receipt: AnswerReceipt) -> list[Replayed]:
        """Make every request of a turn again, on the model that answered it then.

        Raises:
            CannotReplay: no model was asked, or what a prompt was made of is not kept any more.
            ModelError: the model cannot be loaded, or failed.
        """
        if not receipt.asked:
            raise CannotReplay(
                f"no model was asked for turn {receipt.turn}: it was answered by {receipt.route}"
                + (" and came from the cache" if receipt.from_cache else "")
            )
        return [await self._again(receipt, asked) for asked in receipt.asked]

    async def shadow(self, receipt: AnswerReceipt, model: str) -> list[Shadowed]:
        """Make every request of a turn on another model; what fails is told with its reason.

        Raises: UnknownModel: there is no such model.
        """
        name = self.registry.resolve(model)
        return [await self._shadow(receipt, asked, name) for asked in receipt.asked if asked.inputs]

    async def _again(self, receipt: AnswerReceipt, asked: Asked) -> Replayed:
        options = asked.generate_options()
        async with self.models.use(asked.model) as model:
            prompt = await self._prompt(receipt, asked, model)
            digest = digest_of(model, prompt)
            started = perf_counter()
            answer, is_whole = await _said(model, prompt, options, until_chars=_length_of(asked))
            took_s = perf_counter() - started
        is_same_model = self.identities.get(asked.model, asked.model_hash) == asked.model_hash
        is_same_prompt = digest.sha256 == asked.prompt.sha256
        said = answer[: len(asked.answer)] if not asked.is_whole else answer
        is_same_answer = said == asked.answer and (is_whole or not asked.is_whole)
        differences = []
        if not is_same_model:
            differences.append(f"model {asked.model} has other settings or files now")
        if not is_same_prompt:
            differences.append(_prompt_difference(asked.prompt, digest))
        if not is_same_answer:
            differences.append(_answer_difference(asked.answer, said))
        return Replayed(
            model=asked.model,
            is_same_model=is_same_model,
            prompt=digest,
            is_same_prompt=is_same_prompt,
            answer=said,
            is_same_answer=is_same_answer,
            differences=tuple(differences),
            took_s=took_s,
        )

    async def _shadow(self, receipt: AnswerReceipt, asked: Asked, name: str) -> Shadowed:
        assert asked.inputs is not None
        question = asked.inputs.question
        if (generation := asked.inputs.generation) is not None:
            question = generation.messages[-1].text if generation.messages else generation.prompt
        shown = Shadowed(
            turn=receipt.turn, conversation=receipt.conversation, question=question, then=asked.answer
        )
        started = perf_counter()
        try:
            async with self.models.use(name) as model:
                options = asked.generate_options()
                if asked.inputs.generation is None:
                    options = GenerateOptions(max_tokens=options.max_tokens, stop=self._profile(name).stop)
                prompt = await self._prompt(receipt, asked, model)
                answer, _ = await _said(model, prompt, options)
        except HubError as error:
            return replace(shown, error=str(error), took_s=perf_counter() - started)
        return replace(shown, now=answer, took_s=perf_counter() - started)

    async def _prompt(self, receipt: AnswerReceipt, asked: Asked, model: ChatModel) -> Prompt:
        """Build the prompt as it was built then, for this model."""
        inputs = asked.inputs
        if inputs is None:
            raise CannotReplay(f"what was asked in turn {receipt.turn} was too long to be kept")
        turns = await self._turns(receipt, inputs)
        if inputs.generation is not None:
            return fitted(model, inputs.generation, turns, max_tokens=self.max_answer_tokens)[0]
        return compose(
            model,
            self._profile(model.name),
            inputs.facts,
            inputs.question,
            answer_tokens=asked.generate_options().max_tokens,
            turns=turns,
            last_turns=inputs.last_turns,
            summary=None if inputs.summary is None else Summary(entries=inputs.summary),
            style=inputs.style,
        )

    async def _turns(self, receipt: AnswerReceipt, inputs: Inputs) -> list[Turn]:
        if not inputs.turns:
            return []
        kept = {turn.turn: turn for turn in await self.history.turns(receipt.conversation, _KEPT_TURNS)}
        kept |= {turn.turn: turn for turn in inputs.said}
        if missing := [turn for turn in inputs.turns if turn not in kept]:
            raise CannotReplay(
                f"turn {receipt.turn} was answered with earlier turns of which {len(missing)} are not kept any "
                f"more, first {missing[0]}"
            )
        return [kept[turn] for turn in inputs.turns]

    def _profile(self, name: str) -> Profile:
        return profile_of(self.registry.settings_of(self.registry.resolve(name)))


async def _said(
    model: ChatModel, prompt: Prompt, options: GenerateOptions, *, until_chars: int = 0
) -> tuple[str, bool]:
    """Let a model answer; with `until_chars`, until it has said so much."""
    pieces: list[str] = []
    async with aclosing(model.stream(prompt, options)) as events:
        async for event in events:
            match event:
                case Text():
                    pieces.append(event.text)
                    if until_chars and sum(map(len, pieces)) >= until_chars:
                        break
                case End():
                    return "".join(pieces), True
    return "".join(pieces), False


def _length_of(asked: Asked) -> int:
    """Return how far the model was let speak; 0 for to its end."""
    return 0 if asked.is_whole else max(1, len(asked.answer))


def _prompt_difference(then: PromptDigest, now: PromptDigest) -> str:
    if not then.sha256 or then.of != now.of:
        return "the prompts cannot be compared: another model had stepped in"
    if len(then.messages) != len(now.messages):
        return f"the prompt had {len(then.messages)} messages and has {len(now.messages)}"
    pairs = zip(then.messages, now.messages, strict=True)
    if different := [number for number, (one, other) in enumerate(pairs, 1) if one != other]:
        return f"message {different[0]} of {len(then.messages)} of the prompt differs"
    return f"the same messages were {then.tokens} tokens and are {now.tokens}: the template or vocabulary differs"


def _answer_difference(then: str, now: str) -> str:
    at = next(
        (place for place, (one, other) in enumerate(zip(then, now, strict=False)) if one != other),
        min(len(then), len(now)),
    )
    return f"the answers differ from character {at} on: {_shown(then, at)} was said, {_shown(now, at)} is said now"


def _shown(text: str, at: int) -> str:
    return repr(text[at : at + _SHOWN_CHARS]) if at < len(text) else "nothing more"
