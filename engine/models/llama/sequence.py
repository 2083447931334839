"""One of llama.cpp's sequences, and what is known of the text it holds."""

from dataclasses import dataclass

from engine.models.llama.vocabulary import Tokens


@dataclass(slots=True, eq=False, repr=False)
class Sequence:
    """`tokens[:computed]` are in llama.cpp's memory; those up to `planned` follow."""

    id: int
    tokens: Tokens
    computed: int = 0
    planned: int = 0
    shared: int = 0
    """The first so many tokens hold nobody's own text."""
    audience: str = ""
    owner: str = ""
    """The audience for whom it was asked, also while only its own request finds it."""
    returns: bool = False
    """Whether somebody is likely to go on with it."""
    is_running: bool = False
    used: int = 0
    """Counts up with every use of any sequence."""

    @property
    def pending(self) -> int:
        """Tokens that are still to be computed."""
        return self.planned - self.computed

    def append(self, tokens: Tokens | list[int]) -> None:
        """Plan more tokens."""
        self.tokens[self.planned : self.planned + len(tokens)] = tokens
        self.planned += len(tokens)


@dataclass(frozen=True, slots=True)
class Ahead:
    """Somebody else is just computing what a prompt begins with: cheaper to wait for than to compute as well."""

    sequence: Sequence
    used: int
    length: int

    @property
    def is_over(self) -> bool:
        """Whether waiting leads no further."""
        is_same = self.sequence.is_running and self.sequence.used == self.used
        return not is_same or self.sequence.computed >= self.length
