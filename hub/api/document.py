"""The OpenAPI document, made from the routes that the server serves and the models that it validates with."""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from openapi_pydantic.v3.v3_1 import (
    Components,
    Header,
    Info,
    License,
    MediaType,
    OpenAPI,
    Operation,
    Parameter,
    PathItem,
    Reference,
    RequestBody,
    Response,
    Schema,
    SecurityScheme,
    Server,
    Tag,
    schema_validate,
)
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from hub.api.openai.errors import PREFIX as OPENAI
from hub.api.openai.errors import code_of, status_of
from hub.api.openai.schemas import ErrorAnswer
from hub.api.problems import PROBLEM, ProblemDocument
from hub.api.routes import BYTES, JSON, Answer, Route

TAGS = {
    "chat": "Messages and their answers.",
    "search": "The documents, searched.",
    "review": "What bears on a change.",
    "models": "Models: what they do, loading, unloading, fetching.",
    "openai": "The same in the form of OpenAI's API, for its clients.",
    "keys": "Keys: one for everybody who asks, and those that operators make, change and end.",
    "state": "For probes and for Prometheus.",
    "documents": "For operators: collections, who may read them, and their documents.",
    "questions": "For operators: what the documents could not answer.",
    "people": "For operators: who is known, what is remembered of them, and its end.",
    "operators": "For operators: signing in, who they are, and what they have changed.",
    "conversations": "For operators: who talks where, what was said, and its end.",
    "dead letters": "For operators: what was given up.",
    "events": "For operators: what happens, from the beginning or as it happens.",
    "settings": "For operators: the settings in force.",
    "egress": "For operators: where the hub may connect to, and has.",
    "short forms": "The same as the routes of these names below `/api/v1`.",
}
SAYS = """\
One assistant on every channel, on your own machine. Send a key in `X-API-Key` or as `Authorization: Bearer`.

Errors are problem documents (RFC 9457) with a stable `code`; below `/v1` they have the form of OpenAI's API.
What a request holds beyond what is said here is refused, and so is a name that stands in an object twice."""
HEADERS = {
    "X-Request-ID": (
        "Of this request; your own where you send one of 8 to 64 letters, digits, dots and dashes.",
        {},
    ),
    "RateLimit": (
        "How many requests are left, and for how many seconds.",
        {"pattern": r'^"[^"]+";r=\d+;t=\d+'},
    ),
    "RateLimit-Policy": (
        "How many requests a window of so many seconds takes.",
        {"pattern": r'^"[^"]+";q=\d+;w=\d+'},
    ),
    "Retry-After": ("Seconds until it is worth to try again.", {"pattern": r"^\d+$"}),
    "WWW-Authenticate": ("How to say who asks.", {}),
}
_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_Mode = Literal["validation", "serialization"]


def openapi_document(routes: Sequence[Route], *, version: str) -> bytes:
    """Describe what is served, as OpenAPI 3.1 in JSON."""
    shown = [route for route in routes if route.about.tag]
    schemas = _Schemas(shown)
    paths: dict[str, PathItem] = {}
    for route in shown:
        item = paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), PathItem())
        setattr(item, route.method.lower(), _operation(route, schemas))
    used = {route.about.tag for route in shown}
    document = OpenAPI(
        openapi="3.1.1",
        info=Info(
            title="Hubbub", version=version, description=SAYS,
            license=License(name="GPL-3.0-or-later", identifier="GPL-3.0-or-later"),
        ),
        servers=[Server(url="/")],
        paths=paths,
        tags=[Tag(name=name, description=says) for name, says in TAGS.items() if name in used],
        components=Components(
            schemas={name: schema_validate(schema) for name, schema in schemas.definitions.items()},
            headers={
                name: Header(description=says, schema=schema_validate({"type": "string", **more}))
                for name, (says, more) in HEADERS.items()
            },
            securitySchemes={
                "key": SecurityScheme(type="apiKey", name="X-API-Key", security_scheme_in="header"),
                "bearer": SecurityScheme(type="http", scheme="bearer"),
            },
        ),
    )  # fmt: skip
    return document.model_dump_json(by_alias=True, exclude_none=True, exclude_unset=True).encode()


class _Schemas:
    """The JSON schemas of all models, each by the way in which it is used."""

    def __init__(self, routes: Iterable[Route]) -> None:
        wanted: dict[tuple[type[BaseModel], _Mode], None] = {
            (ProblemDocument, "serialization"): None,
            (ErrorAnswer, "serialization"): None,
        }
        for route in routes:
            if route.takes.body is not None:
                wanted[route.takes.body, "validation"] = None
            for answer in route.gives.answers:
                for model in (answer.model, *answer.events.values()):
                    if model is not None:
                        wanted[model, "serialization"] = None
        self._places, found = models_json_schema(list(wanted), ref_template="#/components/schemas/{model}")
        self.definitions: Mapping[str, Any] = found["$defs"]

    def of(self, model: type[BaseModel], mode: _Mode) -> Any:
        """Return a reference to the schema of a model."""
        return self._places[model, mode]


def _operation(route: Route, schemas: _Schemas) -> Operation:
    keys: list[dict[str, list[str]]] = [{"key": []}, {"bearer": []}]
    return Operation(
        operationId=route.about.name,
        summary=route.about.summary,
        description=_who(route),
        tags=[route.about.tag],
        parameters=[*_path_parameters(route), *_query_parameters(route), *_headers(route)] or None,
        requestBody=_body(route, schemas),
        responses={str(status): one for status, one in sorted(_responses(route, schemas).items())},
        security=keys if route.access.needs_key else [],
    )


def _who(route: Route) -> str | None:
    access = route.access
    scope = f"Needs a key with the scope `{access.scope}`" if access.scope else ""
    role = f", or an operator who is signed in with the role `{access.role}`" if access.role else ""
    return f"{scope}{role}." if scope else None


def _path_parameters(route: Route) -> list[Parameter]:
    found = []
    for name in _PARAMETER.findall(route.path):
        schema = {"type": "string", "minLength": 1}
        if pattern := route.takes.patterns.get(name):
            schema["pattern"] = pattern
        found.append(_parameter(name, "path", schema, required=True))
    return found


def _query_parameters(route: Route) -> list[Parameter]:
    if route.takes.query is None:
        return []
    schema = route.takes.query.model_json_schema()
    found = []
    for name, one in schema.get("properties", {}).items():
        is_required = name in schema.get("required", ())
        if choices := route.takes.choices.get(name):
            one["enum"] = list(choices)
            if one.get("default") not in choices:
                is_required = one.pop("default", None) is not None
        found.append(_parameter(name, "query", one, required=is_required))
    return found


def _headers(route: Route) -> list[Parameter]:
    found = []
    if route.takes.can_repeat:
        says = "A name of your own for this request: sent again with it, it is answered once."
        schema = {"type": "string", "pattern": "^[!-~]{1,255}$", "description": says}
        found.append(_parameter("Idempotency-Key", "header", schema, required=False))
    if route.takes.can_match:
        says = "The `version` of what is changed: where it is another one by now, nothing is changed."
        schema = {
            "type": "string",
            "pattern": '^("[!#-~]{1,100}"|[A-Za-z0-9._-]{1,100})$',
            "description": says,
        }
        found.append(_parameter("If-Match", "header", schema, required=False))
    return found


def _parameter(name: str, place: str, schema: dict[str, Any], *, required: bool) -> Parameter:
    says = {"description": schema["description"]} if "description" in schema else {}
    return Parameter.model_validate(
        {"name": name, "in": place, "required": required, "schema": schema_validate(schema), **says}
    )


def _body(route: Route, schemas: _Schemas) -> RequestBody | None:
    if route.takes.is_file:
        return RequestBody(
            required=True,
            description="The bytes of the file.",
            content={BYTES: MediaType(media_type_schema=Schema())},
        )
    if route.takes.body is None:
        return None
    schema = schemas.of(route.takes.body, "validation")
    return RequestBody(
        required=True, content={JSON: MediaType(media_type_schema=Reference.model_validate(schema))}
    )


def _responses(route: Route, schemas: _Schemas) -> dict[int, Response]:
    found: dict[int, Response] = {}
    for answer in route.gives.answers:
        content = _content(answer, schemas)
        if (known := found.get(answer.status)) is not None:
            known.content = {**(known.content or {}), **content}
            known.description += f" {_says(answer)}"
        else:
            headers = _headers_of(route, answer.status)
            found[answer.status] = Response(
                description=_says(answer), content=content or None, headers=headers
            )
    for status, codes in _faults(route).items():
        content = _fault_content(route, schemas, codes)
        if (known := found.get(status)) is not None:
            known.content = {**(known.content or {}), **content}
        else:
            headers = _headers_of(route, status)
            told = ", ".join(f"`{code}`" for code in codes)
            found[status] = Response(
                description=f"{HTTPStatus(status).phrase}: {told}", content=content, headers=headers
            )
    return found


def _faults(route: Route) -> dict[int, list[str]]:
    if not route.path.startswith(OPENAI):
        return {status: list(codes) for status, codes in route.faults.items()}
    found: dict[int, list[str]] = {}
    for status, codes in route.faults.items():
        found.setdefault(status_of(status), []).extend(code_of(code) for code in codes)
    return found


def _fault_content(route: Route, schemas: _Schemas, codes: Sequence[str]) -> dict[str, MediaType]:
    is_openai = route.path.startswith(OPENAI)
    base = schemas.of(ErrorAnswer if is_openai else ProblemDocument, "serialization")
    code: dict[str, Any] = {"properties": {"code": {"enum": list(codes)}}}
    narrowed = {"allOf": [base, {"properties": {"error": code}} if is_openai else code]}
    return {JSON if is_openai else PROBLEM: MediaType(media_type_schema=schema_validate(narrowed))}


def _content(answer: Answer, schemas: _Schemas) -> dict[str, MediaType]:
    if not answer.media_type:
        return {}
    if answer.model is None:
        # Bytes, or text that is no JSON.
        return {answer.media_type: MediaType(media_type_schema=Schema())}
    schema = schemas.of(answer.model, "serialization")
    return {answer.media_type: MediaType(media_type_schema=Reference.model_validate(schema))}


def _says(answer: Answer) -> str:
    if not answer.events:
        return answer.says
    named = [
        f"`{name or 'data'}` ({model.__name__ if model else 'nothing'})"
        for name, model in answer.events.items()
    ]
    return f"{answer.says} Events: {', '.join(named)}."


def _headers_of(route: Route, status: int) -> dict[str, Header | Reference]:
    names = ["X-Request-ID"]
    if route.access.needs_key and status not in (400, 401, 413, 500, 503):
        names += ["RateLimit", "RateLimit-Policy"]
    if status in (429, 503):
        names.append("Retry-After")
    if status == 401:
        names.append("WWW-Authenticate")
    return {name: Reference.model_validate({"$ref": f"#/components/headers/{name}"}) for name in names}
