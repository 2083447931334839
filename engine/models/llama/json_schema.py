"""JSON Schema to GBNF, llama.cpp's grammar: what a schema cannot be kept to by a grammar is refused.

A grammar has no memory, so the members of an object come in the order of the schema, and words that only describe are
passed over. What would silently be broken (`not`, `if`, `pattern`, several `allOf`) is refused instead.

The converter that comes with llama-cpp-python is not used: it writes backslashes and control characters of names and
constants as they are, lets line breaks into strings, and has no bounds.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub.errors import OptionRefused
from hub.json_depth import is_deeper_than

Schema = Mapping[str, Any]

_LONGEST_CHARACTERS = 65_536
_MOST_RULES = 2_000
_DEEPEST = 24
_DEEPEST_TEXT = 4 * _DEEPEST
"""A schema in a schema lies up to three levels of JSON below it."""
_MOST_REPETITIONS = 500

_RULES = r"""
value ::= object | array | string | number | boolean | null
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}"
array ::= "[" ws (value ("," ws value)*)? "]"
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | "u" [0-9abce-fABCE-F] [0-9a-fA-F]{3} | "ud" [0-7] [0-9a-f]{2})
number ::= integer ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?
integer ::= "-"? ("0" | [1-9] [0-9]{0,14})
boolean ::= "true" | "false"
null ::= "null"
ws ::= " "?
date ::= [0-9]{4} "-" (("0" [13578] | "1" [02]) "-" (day | "29" | "30" | "31") | ("0" [469] | "11") "-" (day | "29" | "30") | "02-" day)
day ::= "0" [1-9] | "1" [0-9] | "2" [0-8]
time ::= ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])
uuid ::= [0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}
"""
_FORMATS = {"date": "date", "time": "time", "date-time": 'date "T" time', "uuid": "uuid"}
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")

_DESCRIBING = frozenset(
    {"$comment", "$defs", "$id", "$schema", "default", "definitions", "deprecated", "description"}
    | {"examples", "readOnly", "title", "writeOnly"}
)
_KNOWN: dict[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "format"}),
    "number": frozenset(),
    "integer": frozenset({"minimum"}),
    "boolean": frozenset(),
    "null": frozenset(),
}


def grammar_of(schema: str) -> str:
    """Turn a JSON Schema into a grammar, in time and size bounded by the schema's.

    Args:
        schema: as JSON; `{}` is any JSON object.

    Raises: OptionRefused: it is not a schema, is too large, or says what no grammar can.
    """
    if len(schema) > _LONGEST_CHARACTERS:
        raise OptionRefused(f"the JSON Schema is longer than {_LONGEST_CHARACTERS} characters")
    if is_deeper_than(_DEEPEST_TEXT, schema):
        raise OptionRefused("the JSON Schema is nested too deep")
    try:
        read = json.loads(schema, parse_constant=_refuse_constant)
        return _Converter(read or {"type": "object"}).grammar()
    except ValueError as error:
        raise OptionRefused("the JSON Schema is not JSON") from error


class _Converter:
    """Writes a rule for each part of one schema."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._rules: list[str] = []
        self._references: dict[str, str] = {}

    def grammar(self) -> str:
        """Return all rules, `root` first."""
        root = self._rule(self._schema, 0)
        return "\n".join([f"root ::= {root}", *self._rules]) + _RULES

    def _rule(self, schema: Any, depth: int) -> str:
        """Return what a document of a schema is, as one item of a rule."""
        if depth > _DEEPEST:
            raise OptionRefused(f"the JSON Schema is nested deeper than {_DEEPEST}")
        if schema is True:
            return "value"
        if not isinstance(schema, dict):
            raise OptionRefused("a part of the JSON Schema is neither an object nor true")
        schema = {key: value for key, value in schema.items() if key not in _DESCRIBING}
        for key, convert in self._combinations.items():
            if key in schema:
                _allow(schema, {key, "type"} if key in {"const", "enum"} else {key})
                return convert(schema[key], depth)
        return self._of_type(schema, depth)

    @property
    def _combinations(self) -> dict[str, Callable[[Any, int], str]]:
        return {
            "$ref": self._reference,
            "const": lambda value, _: _literal(json.dumps(value)),
            "enum": lambda values, _: self._choice([_literal(json.dumps(one)) for one in _listed(values)]),
            "anyOf": self._any_of,
            "oneOf": self._any_of,
            "allOf": self._all_of,
        }

    def _of_type(self, schema: Schema, depth: int) -> str:
        kind = schema.get("type") or _implied_type(schema)
        if kind is None:
            _allow(schema, set())
            return "value"
        if isinstance(kind, list):
            parts = [
                {"type": one, **{key: schema[key] for key in schema if key in _known(one)}}
                for one in _listed(kind)
            ]
            _allow(schema, {"type"}.union(*(_known(one) for one in kind)))
            return self._choice([self._of_type(part, depth + 1) for part in parts])
        _allow(schema, {"type", *_known(kind)})
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return self._string(schema)
        if kind == "integer" and "minimum" in schema:
            return self._add(_at_least(schema["minimum"]))
        return str(kind)

    # -- kinds -----------------------------------------------------------------------------------------

    def _object(self, schema: Schema, depth: int) -> str:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise OptionRefused("properties or required of the JSON Schema are malformed")
        more = schema.get("additionalProperties", True)
        names = [*properties, *(name for name in required if name not in properties)]
        if not all(isinstance(name, str) for name in names):
            raise OptionRefused("required of the JSON Schema holds something that is not a name")
        if not names and more is not False:
            member = self._add(f'string ":" ws {self._rule(more, depth + 1)}')
            return self._add(f'"{{" ws ({member} ("," ws {member})*)? "}}"')
        # Names of the schema only, whatever else it allows: a small model invents members without end.
        members = [
            self._add(
                f'{_literal(json.dumps(name))} ":" ws {self._rule(properties.get(name, more), depth + 1)}'
            )
            for name in names
        ]
        return self._add(f'"{{" ws {self._members(members, [name in required for name in names])} "}}"')

    def _members(self, members: Sequence[str], must: Sequence[bool]) -> str:
        """Put members in their order, a comma between those that are there.

        A rule for what may follow the member before, and one for what may begin: as many rules as members, twice.
        """
        follows, begins = '""', '""'
        for member, is_required in zip(reversed(members), reversed(must), strict=True):
            here, after = follows, self._add(f'"," ws {member} {follows}')
            begins = self._add(f"{member} {here}" + ("" if is_required else f" | {begins}"))
            follows = after if is_required else self._add(f"{after} | {here}")
        return begins

    def _array(self, schema: Schema, depth: int) -> str:
        if "prefixItems" in schema:
            fixed = [self._rule(one, depth + 1) for one in _listed(schema["prefixItems"])]
            _allow(schema, {"type", "prefixItems", "items"})
            if schema.get("items", False) is not False:
                raise OptionRefused("the JSON Schema has items behind prefixItems")
            return self._add('"[" ws ' + ' "," ws '.join(fixed) + ' "]"')
        item = self._rule(schema.get("items", True), depth + 1)
        least, most = _range_of(schema, "minItems", "maxItems")
        if most == 0:
            return self._add('"[" ws "]"')
        rest = f'("," ws {item})' + _times(max(0, least - 1), None if most is None else most - 1)
        return self._add(f'"[" ws {item} {rest} "]"' if least else f'"[" ws ({item} {rest})? "]"')

    def _string(self, schema: Schema) -> str:
        if "format" in schema:
            _allow(schema, {"type", "format"})
            # Source: JSON Schema Validation 2020-12, 7.2: a format only describes, unless both sides agree on more.
            rule = _FORMATS.get(schema["format"]) if isinstance(schema["format"], str) else None
            return self._add(f'"\\"" {rule} "\\""') if rule else "string"
        least, most = _range_of(schema, "minLength", "maxLength")
        if (least, most) == (0, None):
            return "string"
        return self._add(f'"\\"" char{_times(least, most)} "\\""')

    # -- combinations ----------------------------------------------------------------------------------

    def _any_of(self, schemas: Any, depth: int) -> str:
        return self._choice([self._rule(one, depth + 1) for one in _listed(schemas)])

    def _all_of(self, schemas: Any, depth: int) -> str:
        if len(_listed(schemas)) != 1:
            raise OptionRefused("the JSON Schema joins several schemas by allOf")
        return self._rule(schemas[0], depth + 1)

    def _reference(self, name: Any, _: int) -> str:
        if not isinstance(name, str) or not (name == "#" or name.startswith("#/")):
            raise OptionRefused("the JSON Schema refers to something outside of it")
        if name not in self._references:
            # Known before what it refers to is read, so that a schema may hold itself.
            number = len(self._rules)
            self._references[name] = self._add("")
            # Depth counts within one definition; the number of rules bounds all of them.
            body = self._rule(self._find(name), 0)
            if body == self._references[name]:
                raise OptionRefused("the JSON Schema refers to nothing but itself")
            self._rules[number] = f"{self._references[name]} ::= {body}"
        return self._references[name]

    def _find(self, name: str) -> Any:
        found = self._schema
        for step in name.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise OptionRefused("the JSON Schema refers to a part it does not have")
        return found

    def _choice(self, items: Sequence[str]) -> str:
        return self._add(" | ".join(items))

    def _add(self, body: str) -> str:
        if len(self._rules) >= _MOST_RULES:
            raise OptionRefused("the JSON Schema is too large")
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name} ::= {body}")
        return name


def _allow(schema: Schema, known: set[str] | frozenset[str]) -> None:
    if unknown := sorted(set(schema) - known):
        raise OptionRefused(f"a grammar cannot keep to this part of the JSON Schema: {unknown[0][:80]}")


def _implied_type(schema: Schema) -> str | None:
    return next((kind for kind, words in _KNOWN.items() if words.intersection(schema)), None)


def _known(kind: Any) -> frozenset[str]:
    if not isinstance(kind, str) or kind not in _TYPES:
        raise OptionRefused(f"a type of the JSON Schema is none of: {', '.join(_TYPES)}")
    return _KNOWN[kind]


def _listed(values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise OptionRefused("a list of the JSON Schema is missing or empty")
    return values


def _range_of(schema: Schema, least_name: str, most_name: str) -> tuple[int, int | None]:
    least, most = schema.get(least_name, 0), schema.get(most_name)
    for name, value in ((least_name, least), (most_name, most)):
        is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_REPETITIONS
        if value is not None and not is_count:
            raise OptionRefused(f"{name} of the JSON Schema is not a number up to {_MOST_REPETITIONS}")
    if most is not None and most < least:
        raise OptionRefused(f"{most_name} of the JSON Schema is less than {least_name}")
    return least, most


def _times(least: int, most: int | None) -> str:
    return f"{{{least},{'' if most is None else most}}}"


def _at_least(minimum: Any) -> str:
    if minimum == 0 and not isinstance(minimum, bool):
        return '"0" | [1-9] [0-9]{0,14}'
    if minimum == 1 and not isinstance(minimum, bool):
        return "[1-9] [0-9]{0,14}"
    raise OptionRefused("minimum of the JSON Schema is neither 0 nor 1")


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _literal(text: str) -> str:
    """Write a text, ASCII only, as a literal of GBNF."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
