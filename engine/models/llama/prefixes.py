"""Which computed text begins like a prompt: a tree over tokens, in which nobody finds another one's own text."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from engine.models.llama.vocabulary import Tokens

Holder = TypeVar("Holder", bound=Hashable)


def common_length(one: Tokens, other: Tokens) -> int:
    """Count the tokens that two texts begin with alike."""
    size = min(len(one), len(other))
    differs = one[:size] != other[:size]
    first = int(differs.argmax()) if size else 0
    return first if size and differs[first] else size


@dataclass(slots=True, eq=False)
class _Node(Generic[Holder]):
    tokens: Tokens
    """Of the way from the node above."""
    holders: set[Holder]
    """Whose texts pass here."""
    children: "dict[int, _Node[Holder]]" = field(default_factory=dict)

    def split(self, length: int) -> None:
        """Let the way to this node end after so many tokens, and the rest be a node below it."""
        below = _Node(self.tokens[length:], set(self.holders), self.children)
        self.tokens = self.tokens[:length]
        self.children = {int(below.tokens[0]): below}

    def join(self) -> None:
        """Take the only node below into this one, where nobody's text ends in between."""
        if len(self.children) == 1:
            (below,) = self.children.values()
            if below.holders == self.holders:
                self.tokens = np.concatenate([self.tokens, below.tokens])
                self.children = below.children


class PrefixTree(Generic[Holder]):
    """A radix tree over tokens: each text belongs to a holder, which has one text at most."""

    def __init__(self) -> None:
        self._root: _Node[Holder] = _Node(np.empty(0, np.int32), set())
        self._texts: dict[Holder, Tokens] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, holder: Holder, tokens: Tokens) -> None:
        """Remember a holder's text in place of the one it had."""
        self.remove(holder)
        if not len(tokens):
            return
        self._texts[holder] = rest = tokens.copy()
        node = self._root
        while len(rest):
            child = node.children.get(int(rest[0]))
            if child is None:
                node.children[int(rest[0])] = _Node(rest, {holder})
                return
            same = common_length(child.tokens, rest)
            if same < len(child.tokens):
                child.split(same)
            child.holders.add(holder)
            node, rest = child, rest[same:]

    def remove(self, holder: Holder) -> None:
        """Forget a holder's text, if it has one."""
        rest = self._texts.pop(holder, None)
        node, passed = self._root, []
        while rest is not None and len(rest):
            child = node.children[int(rest[0])]
            rest = rest[len(child.tokens) :]
            child.holders.discard(holder)
            if not child.holders:
                del node.children[int(child.tokens[0])]
                break
            passed.append(child)
            node = child
        for node in reversed(passed):
            node.join()

    def matches(self, tokens: Tokens) -> dict[Holder, int]:
        """Tell for each holder how many tokens its text begins with alike; those with none are left out.

        Returns: the longest first.
        """
        path: list[tuple[int, set[Holder]]] = []
        node, rest, depth = self._root, tokens, 0
        while len(rest) and (child := node.children.get(int(rest[0]))) is not None:
            same = common_length(child.tokens, rest)
            depth += same
            path.append((depth, child.holders))
            if same < len(child.tokens):
                break
            node, rest = child, rest[same:]
        found: dict[Holder, int] = {}
        for length, holders in reversed(path):
            for holder in holders - found.keys():
                found[holder] = length
        return found


class PrefixIndex(Generic[Holder]):
    """Finds texts that begin like a prompt, within what its audience may profit from.

    The first `shared` tokens of each text lie in a tree for everybody. Whole texts lie in a tree of their audience,
    which is looked at for nobody else; the empty audience has none.
    """

    def __init__(self) -> None:
        self._everybody: PrefixTree[Holder] = PrefixTree()
        self._audiences: dict[str, PrefixTree[Holder]] = {}
        self._audience_of: dict[Holder, str] = {}

    def add(self, holder: Holder, tokens: Tokens, *, shared: int, audience: str) -> None:
        """Remember a holder's text in place of the one it had."""
        self.remove(holder)
        self._everybody.add(holder, tokens[:shared])
        if audience and len(tokens):
            self._audience_of[holder] = audience
            self._audiences.setdefault(audience, PrefixTree()).add(holder, tokens)

    def remove(self, holder: Holder) -> None:
        """Forget a holder's text, if it has one."""
        self._everybody.remove(holder)
        if (audience := self._audience_of.pop(holder, None)) is not None:
            self._audiences[audience].remove(holder)
            if not self._audiences[audience]:
                del self._audiences[audience]

    def matches(self, tokens: Tokens, *, shared: int, audience: str) -> dict[Holder, int]:
        """Tell for each holder how many tokens of a prompt can be taken from it; those with none are left out."""
        found = self._everybody.matches(tokens[:shared])
        if audience in self._audiences:
            own = self._audiences[audience].matches(tokens)
            found |= {holder: max(length, found.get(holder, 0)) for holder, length in own.items()}
        return found
