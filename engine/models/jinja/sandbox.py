"""Runs the chat template of a model file, which is a program by a stranger, within bounds of time and memory.

Jinja's sandbox keeps it from Python's objects; on top of that only filters, tests and methods that are known to be
harmless exist, and what they do is metered.
"""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from engine.models.jinja.meter import (
    CHARACTERS_PER_STEP,
    Meter,
    Metering,
    TemplateError,
    TemplateTooCostly,
    refuse_statements,
)

LONGEST_SOURCE = 131_072
_LARGEST_RANGE = 10_000


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FILTERS = _words(
    "abs capitalize count d default dictsort e escape first float indent int items join last length list lower map "
    "max min reject rejectattr replace reverse round safe select selectattr sort string title trim unique upper"
)
_TESTS = _words(
    "boolean callable defined divisibleby eq equalto even false float ge gt in integer iterable le lower lt mapping "
    "ne none number odd sameas sequence string true undefined upper == != > >= < <="
)
_METHODS: dict[type, frozenset[str]] = {
    str: _words(
        "capitalize count endswith find index isalnum isalpha isdigit islower isspace isupper join lower lstrip "
        "removeprefix removesuffix replace rfind rsplit rstrip split splitlines startswith strip title upper"
    ),
    dict: _words("get items keys values"),
    list: _words("count index"),
    tuple: _words("count index"),
    LoopContext: _words("changed cycle"),
}


class Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja environment whose templates are metered; one rendering at a time."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self) -> None:
        # The optimizer would compute constants while it compiles, outside of the meter.
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[loopcontrols, _Generation]
        )
        self.meter = Meter(0, None)
        self.filters = {name: self._metered(self.filters[name]) for name in _FILTERS}
        self.filters["tojson"] = self._metered(_to_json)
        self.tests = {name: self._metered(self.tests[name]) for name in _TESTS}
        self.globals = {
            "dict": dict,
            "namespace": Namespace,
            "raise_exception": _refuse,
            "range": _bounded_range,
            "strftime_now": _format_today,
        }

    def compile_bounded(self, source: str) -> jinja2.Template:
        """Compile a template.

        Raises: TemplateError: it is too long, not a template, or uses what no chat template needs.
        """
        if len(source) > LONGEST_SOURCE:
            raise TemplateError(f"the chat template is longer than {LONGEST_SOURCE} characters")
        try:
            tree = self.parse(source)
            refuse_statements(tree)
            metered = Metering().visit(tree)
            code = self.compile(metered)
            return jinja2.Template.from_code(self, code, self.make_globals(None))
        except TemplateError:
            raise
        except Exception as error:
            raise TemplateError(f"the chat template cannot be read: {_first_line(error)}") from error

    def render(self, template: jinja2.Template, steps: int, variables: Mapping[str, Any]) -> str:
        """Run a template.

        Args:
            template: as `compile_bounded` returns it.
            steps: what it may do.
            variables: what it sees.

        Raises: TemplateError: it refuses or fails; TemplateTooCostly: it does more than it may.
        """
        self.meter = Meter(steps, variables.get("messages"))
        try:
            return template.render(**variables)
        except TemplateError:
            raise
        except Exception as error:
            raise TemplateError(f"the chat template failed: {_first_line(error)}") from error

    # -- what compiled templates call ------------------------------------------------------------------

    def weighed(self, value: Any) -> Any:
        """Pass a value on."""
        self.meter.weigh(value)
        return value

    def written(self, value: Any) -> str:
        """Turn a value into text of the output, or of a block that becomes a value."""
        self.meter.weigh(value)
        text = str(value)
        self.meter.weigh(text)
        return text

    def joined(self, *values: Any) -> str:
        """Do what `~` does."""
        return "".join(self.written(value) for value in values)

    def looped(self, values: Iterable[Any], cost: int) -> Iterator[Any]:
        """Go through what is looped over, at the cost of the loop's body for each turn."""
        for value in values:
            self.meter.charge(cost)
            yield value

    def entered(self, cost: int) -> str:
        """Charge for one run of a macro."""
        self.meter.charge(cost)
        return ""

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute with what is not too large for it."""
        self.meter.weigh(left)
        self.meter.weigh(right)
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise TemplateError(f"the chat template uses {operator} in a way that is not allowed")
        if operator == "*":
            for value, times in ((left, right), (right, left)):
                if isinstance(value, str | list | tuple) and isinstance(times, int):
                    self.meter.charge(max(0, len(value) * times))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as in Jinja
        """Call what is allowed, with what is not too large for it."""
        if getattr(__obj, "__self__", None) is not __self:
            __self.meter.weigh((*args, *kwargs.values()))
            if isinstance(owner := getattr(__obj, "__self__", None), str):
                __self._charge_text(__obj.__name__, owner, args)
        return super().call(__context, __obj, *args, **kwargs)

    def is_safe_callable(self, obj: Any) -> bool:
        """Allow macros, what is offered by name, and harmless methods of values."""
        owner = getattr(obj, "__self__", None)
        if owner is self or isinstance(obj, Macro):
            return True
        if obj in self.globals.values():
            return True
        allowed = (names for kind, names in _METHODS.items() if isinstance(owner, kind))
        return any(getattr(obj, "__name__", "") in names for names in allowed)

    def _metered(self, function: Any) -> Callable[..., Any]:
        @functools.wraps(function)
        def metered(*args: Any, **kwargs: Any) -> Any:
            self.meter.weigh((*args, *kwargs.values()))
            # The value comes behind a context where Jinja passes one.
            values = [
                value
                for value in args
                if not isinstance(value, jinja2.Environment | nodes.EvalContext | Context)
            ]
            self._charge_filter(function.__name__, values, kwargs)
            result = function(*args, **kwargs)
            # Lazy filters piled upon each other would be taken apart by recursion.
            return list(result) if isinstance(result, Iterator) else result

        return metered

    def _charge_filter(self, name: str, values: list[Any], options: Mapping[str, Any]) -> None:
        if name == "do_replace":
            self._charge_text("replace", str(values[0]), tuple(values[1:]))
        elif name == "do_join" and len(values) > 1:
            self.meter.charge(len(str(values[1])) * _length(values[0]))
        elif name in {"do_indent", "_to_json"}:
            numbers = [value for value in (*values[1:], *options.values()) if not isinstance(value, bool)]
            if any(isinstance(value, int) and value > 16 for value in numbers):
                raise TemplateError("the chat template indents too far")
            if any(isinstance(value, str) and len(value) > 16 for value in numbers):
                raise TemplateError("the chat template indents too far")

    def _charge_text(self, method: str, text: str, args: tuple[Any, ...]) -> None:
        if method == "replace" and len(args) >= 2 and isinstance(args[0], str) and isinstance(args[1], str):
            self.meter.charge(text.count(args[0]) * (1 + len(args[1])) // CHARACTERS_PER_STEP)
        elif method == "join" and args:
            self.meter.charge((1 + len(text)) * _length(args[0]))


class _Generation(Extension):
    """`{% generation %}`, by which templates mark what a model is trained on; here it stands for what it holds."""

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else _LARGEST_RANGE


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _refuse(message: object) -> None:
    raise TemplateError(f"the chat template refuses these messages: {str(message)[:200]}")


def _bounded_range(*limits: int) -> range:
    numbers = range(*limits)
    if len(numbers) > _LARGEST_RANGE:
        raise TemplateTooCostly(f"the chat template counts to more than {_LARGEST_RANGE}")
    return numbers


def _format_today(form: str) -> str:
    # The hour would make every prompt another one, and nothing computed could be used again.
    return datetime.combine(date.today(), time()).strftime(form[:64])


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Not Jinja's own, which escapes for HTML; models are trained on what transformers writes.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
