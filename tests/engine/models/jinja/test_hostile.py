"""Templates that mean harm: each is refused, after a bounded number of steps."""

import sys

import pytest

from engine.models.base import ChatMessage
from engine.models.jinja.meter import Meter, TemplateError, TemplateTooCostly
from engine.models.jinja.template import JinjaTemplate

QUESTION = "{{ messages[-1].content }}"

COSTLY = {
    "a long loop": "{% for i in range(10 ** 9) %}x{% endfor %}",
    "a long range": "{% for i in range(1000000000) %}x{% endfor %}",
    "loops in loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}"
    "{% endfor %}{% endfor %}",
    "a loop over text": "{% for a in ('x' * 9000) %}{% for b in ('x' * 9000) %}{% endfor %}{% endfor %}",
    "a multiplied text": "{{ 'x' * 1000000000 }}",
    "a multiplied list": "{{ ([0] * 1000000000) | length }}",
    "a multiplied number": "{% set n = namespace(x=10) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "a power": "{{ 10 ** 10 ** 10 }}",
    "doubling by +": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "doubling by ~": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "doubling by a block": "{% set n = namespace(x='xxxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set n.x %}{{ n.x }}"
    "{{ n.x }}{% endset %}{% endfor %}",
    "doubling by join": "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = [n.x, n.x] | join %}"
    "{% endfor %}",
    "doubling lists": "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    "{{ n.x }}",
    "doubling lists, compared": "{% set n = namespace(x=[1], y=[1]) %}{% for i in range(60) %}"
    "{% set n.x = [n.x, n.x] %}{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
    "doubling lists, as JSON": "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}"
    "{% endfor %}{{ n.x | tojson }}",
    "replacing": "{{ ('x' * 9000) | replace('x', 'y' * 9000) | replace('y', 'z' * 9000) }}",
    "replacing by a method": "{{ ('x' * 9000).replace('', 'y' * 9000).replace('y', 'z' * 9000) }}",
    "joining": "{{ range(9999) | join('x' * 99999) }}",
    "joining by a method": "{{ ('x' * 99999).join(('y' * 9999) | list) }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(60) }}",
    "deep tuples": "{% set n = namespace(x=()) %}{% for i in range(9999) %}{% set n.x = (n.x,) %}{% endfor %}"
    "{{ {n.x: 1} }}",
    "much text in a loop": "{% for i in range(9999) %}{% for j in range(9) %}"
    + "x" * 9000
    + "{% endfor %}{% endfor %}",
}

FORBIDDEN = {
    "an endless macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals of a function": "{{ raise_exception.__globals__.os }}",
    "the name of a class": "{{ messages.__class__.__name__ }}",
    "the module of a function": "{{ strftime_now.__func__.__builtins__ }}",
    "attr": "{{ '' | attr('__class__') }}",
    "format strings": "{{ '{0.__class__}'.format('') }}",
    "padding": "{{ '%1000000000d' % 1 }}",
    "padding by a method": "{{ 'x'.ljust(1000000000) }}",
    "padding by a filter": "{{ 'x' | center(1000000000) }}",
    "indenting": "{{ 'x\n\nx' | indent(1000000000, true) }}",
    "indenting JSON": "{{ [1] | tojson(indent=1000000000) }}",
    "filler text": "{{ lipsum(n=1000000) }}",
    "a known function": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "changing messages": "{% set _ = messages.append(1) %}",
    "clearing a message": "{{ messages[0].update({'content': ''}) }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "extends": "{% extends 'other' %}",
    "the environment": "{{ self._TemplateReference__context.environment }}",
    "a recursive loop": "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "nested brackets": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "nested lists": "{{ " + "[" * 20_000 + "]" * 20_000 + " }}",
    "a long sum": "{{ " + "1+" * 60_000 + "1 }}",
    "many conditions": "{% if 0 %}" + "{% if 0 %}" * 5_000 + "{% endif %}" * 5_001,
    "a huge file": " " * 200_000,
    "a huge number": "{{ " + "9" * 100_000 + " }}",
}


def _open(source: str) -> JinjaTemplate:
    return JinjaTemplate(source + QUESTION, bos="<s>", eos="</s>")


@pytest.mark.parametrize("name", COSTLY)
def test_a_template_that_costs_too_much_is_refused(name: str) -> None:
    """Loops, growth and recursion end where the allowance does, long before memory or patience."""
    with pytest.raises(TemplateError):
        _open(COSTLY[name])


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_template_that_reaches_out_is_refused(name: str) -> None:
    """Nothing of Python is within reach, and nothing that only a program would need."""
    with pytest.raises(TemplateError):
        _open(FORBIDDEN[name])


@pytest.mark.parametrize(
    "source",
    [
        "{{ x.__class__ }}",
        "{{ namespace.__init__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ dict.__base__ }}",
    ],
)
def test_private_attributes_are_nothing(source: str) -> None:
    """What begins with an underscore is undefined, so it is written as nothing."""
    template = _open(source)

    assert all("class" not in str(piece) for piece in template.pieces([ChatMessage(role="user", text="x")]))


def test_a_template_that_shows_its_teeth_late_is_not_run_again() -> None:
    """A conversation of seven messages wakes it; from then on every conversation is refused at once."""
    template = _open("{% if messages | length > 6 %}{{ 'x' * 1000000000 }}{% endif %}")
    messages = [ChatMessage(role="user" if n % 2 == 0 else "assistant", text="x") for n in range(7)]
    template.pieces(messages[:3])

    with pytest.raises(TemplateTooCostly):
        template.pieces(messages)
    with pytest.raises(TemplateTooCostly):
        template.pieces(messages[:5])


def test_an_honest_template_has_room_for_a_very_long_conversation() -> None:
    """A thousand messages are far from the allowance."""
    template = _open("{% for m in messages %}{{ '<' ~ m.role ~ '>' + m.content }}{% endfor %}")
    messages = [ChatMessage(role="user" if n % 2 == 0 else "assistant", text="x") for n in range(1_001)]

    assert len(template.pieces(messages)) > 2_000


def test_the_meter_counts_what_is_inside() -> None:
    """A value costs as much as all it holds, however often it holds the same."""
    doubled: list[object] = []
    for _ in range(60):
        doubled = [doubled, doubled]

    with pytest.raises(TemplateTooCostly):
        Meter(10_000, None).weigh(doubled)
    Meter(10_000, None).weigh({"role": "user", "content": "x" * 1_000, "size": sys.maxsize})
