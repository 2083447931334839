"""Answers that keep to a JSON Schema."""

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.models.base import GenerateOptions
from engine.models.llama.grammar import Grammar
from engine.models.llama.json_schema import grammar_of
from engine.models.llama.sampling import Sampler
from engine.models.llama.vocabulary import Vocabulary
from hub.errors import OptionRefused

PERSON = {
    "type": "object",
    "title": "Person",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "title": {"enum": ['Dr "X"', "Mr\\Ms", "line\nbreak", "Frau Müller", None, 7]},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 4}, "maxItems": 3},
        "born": {"type": ["string", "null"], "format": "date"},
    },
    "required": ["name", "age", "tags"],
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"name": {"type": "boolean"}, "child": {"$ref": "#/$defs/node"}},
            "required": ["name"],
        }
    },
    "$ref": "#/$defs/node",
}


def _accepts(vocabulary: Vocabulary, schema: object, document: str) -> bool:
    """Tell whether a text is complete in the grammar of a schema."""
    grammar = Grammar(vocabulary, grammar_of(json.dumps(schema)))
    try:
        for token in vocabulary.tokenize(document, is_template=False):
            if not grammar.allows(np.array([token]))[0]:
                return False
            grammar.accept(int(token))
        return bool(grammar.allows(np.array([min(vocabulary.end_tokens)]))[0])
    finally:
        grammar.close()


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({}, ['{"a": [1, -2.5e10, "x\\n\\u00e9"], "b": {}}', "{}"], ["[]", "1", '{"a": 01}', '{"a": "\n"}']),
        ({"type": "string"}, ['"x"', '""'], ["x", '"\t"', '"\\x"']),
        ({"type": "integer"}, ["0", "-12"], ["1.5", "01", "-"]),
        ({"type": "integer", "minimum": 1}, ["1", "30"], ["0", "-1"]),
        ({"type": "number"}, ["1.5", "1e5", "-0.25"], ["1.", ".5", "NaN"]),
        ({"type": ["integer", "null"]}, ["null", "4"], ["true", '""']),
        ({"enum": ['a"b', "c\\d", 1, None]}, ['"a\\"b"', '"c\\\\d"', "1", "null"], ['"a"', "2"]),
        ({"const": {"a": [1]}}, ['{"a": [1]}'], ["{}"]),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, ["null", "true"], ["1"]),
        ({"allOf": [{"type": "null"}]}, ["null"], ["1"]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', '"abc"'], ['"a"', '"abcd"']),
        ({"type": "string", "format": "date"}, ['"2024-01-31"'], ['"2024-02-30"', '"2024-13-01"']),
        ({"type": "string", "format": "date-time"}, ['"2024-01-31T10:00:00Z"'], ['"2024-01-31"']),
        ({"type": "string", "format": "email"}, ['"a@b"'], ["1"]),
        ({"type": "array", "items": {"type": "null"}}, ["[]", "[null, null]"], ["[1]"]),
        ({"type": "array", "items": {"type": "null"}, "minItems": 1, "maxItems": 2}, ["[null]"], ["[]"]),
        ({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
        ({"prefixItems": [{"type": "null"}, {"type": "integer"}]}, ["[null, 1]"], ["[1, null]", "[null]"]),
        ({"type": "object", "additionalProperties": {"type": "null"}}, ["{}", '{"a": null}'], ['{"a": 1}']),
        ({"type": "object", "additionalProperties": False}, ["{}"], ['{"a": 1}']),
        ({"required": ["a"], "additionalProperties": {"type": "null"}}, ['{"a": null}'], ['{"a": 1}']),
        (PERSON, ['{"name": "A", "age": 3, "tags": ["x"]}'], ['{"name": "A"}', '{"age": 3, "name": "A"}']),
        (PERSON, ['{"name": "A", "title": "Frau M\\u00fcller", "age": 3, "tags": []}'], ["{}"]),
        (TREE, ['{"name": true, "child": {"name": false}}'], ['{"name": true, "child": {}}']),
    ],
)
def test_a_schema_takes_its_documents_and_no_others(
    vocabulary: Vocabulary, schema: object, right: list[str], wrong: list[str]
) -> None:
    """What a schema says about a document is what its grammar lets through."""
    assert [one for one in right if not _accepts(vocabulary, schema, one)] == []
    assert [one for one in wrong if _accepts(vocabulary, schema, one)] == []


@given(
    must=st.lists(st.booleans(), min_size=1, max_size=5),
    there=st.lists(st.booleans(), min_size=5, max_size=5),
)
@settings(deadline=None)
def test_members_may_be_left_out_exactly_where_the_schema_says(
    vocabulary: Vocabulary, must: list[bool], there: list[bool]
) -> None:
    """Every choice of members is taken when it holds the required ones."""
    names = [f"m{position}" for position in range(len(must))]
    schema = {
        "properties": {name: {"type": "null"} for name in names},
        "required": [name for name, is_required in zip(names, must, strict=True) if is_required],
    }
    document = json.dumps({name: None for name, is_there in zip(names, there, strict=False) if is_there})

    expected = all(is_there for is_required, is_there in zip(must, there, strict=False) if is_required)
    assert _accepts(vocabulary, schema, document) is expected


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(value=_plain)
@settings(deadline=None, max_examples=60)
def test_any_constant_can_be_asked_for(vocabulary: Vocabulary, value: object) -> None:
    """Quotes, backslashes and characters of every kind are written so that they are themselves."""
    assert _accepts(vocabulary, {"const": value}, json.dumps(value))
    assert _accepts(vocabulary, {"enum": ["other", value]}, json.dumps(value))


@pytest.mark.parametrize("schema", [{}, PERSON, TREE, {"type": "array", "items": PERSON, "maxItems": 2}])
@pytest.mark.parametrize("seed", range(3))
def test_an_answer_by_chance_parses(vocabulary: Vocabulary, schema: dict[str, Any], seed: int) -> None:
    """Logits without sense still give a document, as soon as it may end."""
    options = GenerateOptions(max_tokens=1, temperature=1.0, seed=seed, json_schema=json.dumps(schema))
    sampler = Sampler.create(vocabulary, options)
    assert sampler is not None
    chance = np.random.default_rng(random.Random(seed).randrange(1 << 30))
    closing = [int(token) for mark in '}]",' for token in vocabulary.tokenize(mark, is_template=False)]
    said = b""

    for step in range(400):
        logits = chance.normal(0, 2, vocabulary.size).astype(np.float32)
        # With time, what closes something becomes likelier, as it is for a model.
        logits[[*closing, *vocabulary.end_tokens]] += step / 4
        token = sampler.sample(logits)
        if token in vocabulary.end_tokens:
            break
        said += vocabulary.piece(token)
    sampler.close()

    assert token in vocabulary.end_tokens
    json.loads(said)


_deep: Any = {"type": "null"}
for _ in range(200):
    _deep = {"type": "array", "items": _deep}


@pytest.mark.parametrize(
    "schema",
    [
        "no JSON",
        "",
        "[" * 100_000,
        '{"const": NaN}',
        '"text"',
        "[1]",
        '{"type": "text"}',
        '{"type": 3}',
        '{"type": []}',
        '{"enum": []}',
        '{"enum": 1}',
        '{"properties": 3}',
        '{"required": "a"}',
        '{"required": [1]}',
        '{"properties": {"a": false}}',
        '{"properties": {"a": {}}, "required": ["b"], "additionalProperties": false}',
        '{"type": "string", "pattern": "(a+)+$"}',
        '{"type": "object", "patternProperties": {".*": {}}}',
        '{"not": {}}',
        '{"allOf": [{}, {}]}',
        '{"type": "string", "maxLength": 1000000000}',
        '{"type": "string", "minLength": 5, "maxLength": 4}',
        '{"type": "string", "minLength": -1}',
        '{"type": "string", "minLength": true}',
        '{"type": "array", "maxItems": 1e9}',
        '{"type": "integer", "minimum": 12345}',
        '{"$ref": "https://example.org/schema"}',
        '{"$ref": "#/nowhere"}',
        '{"$ref": "#"}',
        '{"$ref": 1}',
        '{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}',
        '{"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, "$ref": "#/$defs/a"}',
        json.dumps(_deep),
        json.dumps({"enum": ["x" * 70_000]}),
        json.dumps({"anyOf": [{"type": "array", "items": {"maxLength": n}} for n in range(1_500)]}),
    ],
    ids=lambda schema: schema[:30],
)
def test_a_schema_that_no_grammar_can_keep_is_refused(vocabulary: Vocabulary, schema: str) -> None:
    """Broken, endless, huge or beyond a grammar: the request is refused before anything is computed."""
    options = GenerateOptions(max_tokens=1, json_schema=schema or " ")

    with pytest.raises(OptionRefused):
        Sampler.create(vocabulary, options)
