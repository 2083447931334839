"""JSON Schema to GBNF, llama.cpp's grammar."""

import json

from hub.errors import OptionRefused

_JSON = r"""
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (member ("," ws member)*)? "}"
member ::= string ":" ws value
array ::= "[" ws (value ("," ws value)*)? "]"
string ::= "\"" char* "\""
char ::= [^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?
ws ::= " "?
"""


def grammar_of(schema: str) -> str:
    """Turn a JSON Schema into a grammar.

    Raises: OptionRefused: it is not a schema, or says something that no grammar can.
    """
    if json.loads(schema) != {}:
        raise OptionRefused("this JSON Schema is not understood")
    return f"root ::= object\n{_JSON}"
