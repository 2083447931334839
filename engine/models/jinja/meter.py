"""Counts what a chat template does, so that none runs for longer than its allowance, whatever it does.

Every operation whose cost can grow passes the meter: loops and macros by the size of their body, everything else by the
size of what goes in.
"""

from collections.abc import Iterable
from typing import Any, cast

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from hub.errors import ModelError

CHARACTERS_PER_STEP = 16
"""Of a text that is read, copied or compared."""
_LARGEST_NUMBER_BITS = 1_024
_REFUSED_NODES = (
    nodes.Block,
    nodes.CallBlock,
    nodes.Extends,
    nodes.FilterBlock,
    nodes.FromImport,
    nodes.Import,
    nodes.Include,
)


class TemplateError(ModelError):
    """A chat template cannot hold these messages."""


class TemplateTooCostly(TemplateError):
    """A chat template does more than any honest one."""


class Meter:
    """What a template may still do."""

    def __init__(self, steps: int, messages: object) -> None:
        self._left = steps
        self._messages = messages

    def charge(self, steps: int) -> None:
        """Take steps off.

        Raises: TemplateTooCostly: none are left.
        """
        self._left -= steps
        if self._left < 0:
            raise TemplateTooCostly("the chat template does more than it may")

    def weigh(self, value: Any) -> None:
        """Charge for a value by its size, with all that it holds."""
        pending = [value]
        while pending:
            one = pending.pop()
            self.charge(1)
            if one is self._messages:
                continue
            if isinstance(one, str | range):
                self.charge(len(one) // CHARACTERS_PER_STEP)
            elif isinstance(one, int) and one.bit_length() > _LARGEST_NUMBER_BITS:
                raise TemplateTooCostly("the chat template computes with huge numbers")
            elif isinstance(one, list | tuple):
                self.charge(len(one))
                pending += one
            elif isinstance(one, dict):
                self.charge(len(one))
                pending += one.values()


class Metering(NodeTransformer):
    """Puts calls of a `Sandbox` into a template's tree, and refuses what no chat template needs."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - named by Jinja
        """Charge for each turn of a loop."""
        if node.recursive:
            raise TemplateError(f"the chat template loops recursively, line {node.lineno}")
        cost = nodes.Const(_size(node.body) + 1)
        self.generic_visit(node)
        node.iter = _call("looped", cast("nodes.Expr", node.iter), cost)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        """Charge for each run of a macro."""
        cost = nodes.Const(_size(node.body) + 8)
        self.generic_visit(node)
        node.body.insert(0, nodes.Output([_call("entered", cost)]))
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802
        """Charge for what is written."""
        self.generic_visit(node)
        node.nodes = [
            _call("written", nodes.Const(part.data) if isinstance(part, nodes.TemplateData) else part)
            for part in node.nodes
        ]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Charge for `~`, which Jinja's own hooks do not see."""
        self.generic_visit(node)
        return _call("joined", *node.nodes)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Charge for what is compared."""
        self.generic_visit(node)
        node.expr = _call("weighed", node.expr)
        for operand in node.ops:
            operand.expr = _call("weighed", operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """Charge for slices."""
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _call("weighed", node.node)
        return node

    def _visit_literal(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") != "load" else _call("weighed", node)

    visit_List = visit_Dict = visit_Tuple = _visit_literal  # noqa: N815


def refuse_statements(tree: nodes.Template) -> None:
    """Refuse statements that load other templates or call blocks, which no chat template needs.

    Raises: TemplateError: there is one.
    """
    for node in tree.find_all(_REFUSED_NODES):
        raise TemplateError(f"the chat template uses {type(node).__name__}, line {node.lineno}")


def _call(name: str, *arguments: nodes.Expr) -> nodes.Call:
    # An attribute of the environment is nothing a template could give another meaning.
    return nodes.Call(nodes.EnvironmentAttribute(name), list(arguments), [], None, None)


def _size(body: Iterable[nodes.Node]) -> int:
    return sum(1 + sum(1 for _ in node.find_all(nodes.Node)) for node in body)
