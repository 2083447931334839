"""The registry over HTTP: who may look, and who may change."""

from typing import Any

from tests.hub.api.model_engine import ModelEngine
from tests.hub.api.serving import Api


async def call(
    api: Api, method: str, path: str, headers: dict[str, str], body: Any = None
) -> tuple[int, Any]:
    """Send a request and return status and answer."""
    async with api.session.request(method, f"{api.url}{path}", json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def operator(api: Api) -> dict[str, str]:
    """Make a key that may change models."""
    return {"X-API-Key": (await api.parts.keys.create("own", scopes=("models",))).text}


async def test_every_key_may_look(bare_api: Api, models: ModelEngine) -> None:
    """Names, states and roles; files and faults are for those who may change them."""
    models.states[0] = models.states[0].model_copy(
        update={"error": "/secret/file is gone", "state": "failed"}
    )
    ordinary, owner = await bare_api.new_key("free"), await operator(bare_api)

    seen = [await call(bare_api, "GET", "/api/v1/models", headers) for headers in (ordinary, owner)]

    assert [status for status, _ in seen] == [200, 200]
    first, second = (answer["models"][0] for _, answer in seen)
    assert (first["name"], first["state"], first["roles"]) == ("echo", "failed", ["general"])
    assert (first["error"], first["path"]) == ("", "")
    assert second["error"] == "/secret/file is gone"


async def test_a_model_is_loaded_and_unloaded(bare_api: Api, models: ModelEngine) -> None:
    """By its name or by a role; the answer tells its state."""
    owner = await operator(bare_api)

    loaded = await call(bare_api, "POST", "/api/v1/models/load", owner, {"model": "general"})
    unloaded = await call(bare_api, "POST", "/api/v1/models/unload", owner, {"model": "echo"})

    assert [(m["name"], m["state"]) for m in loaded[1]["models"]] == [("echo", "loaded")]
    assert [(m["name"], m["state"]) for m in unloaded[1]["models"]] == [("echo", "unloaded")]


async def test_changing_models_needs_the_scope(bare_api: Api, models: ModelEngine) -> None:
    """A key from self-service or without the scope is told so, whatever it sends."""
    async with bare_api.session.post(f"{bare_api.url}/generate-key?tier=pro") as response:
        made = {"X-API-Key": (await response.json())["api_key"]}
    changing = ("load", "unload", "provision")

    answers = [
        await call(bare_api, "POST", f"/api/v1/models/{action}", headers, {"model": "echo"})
        for action in changing
        for headers in (made, await bare_api.new_key())
    ]

    assert [(status, answer["code"]) for status, answer in answers] == [(403, "scope_needed")] * 6
    assert all(state.state == "unloaded" for state in models.states)


async def test_what_cannot_be_changed_is_told(bare_api: Api, models: ModelEngine) -> None:
    """An unknown model is 404; an engine that cannot load one says why to whoever may know."""
    owner = await operator(bare_api)

    unknown = await call(bare_api, "POST", "/api/v1/models/load", owner, {"model": "gpt-9"})
    full = await call(bare_api, "POST", "/api/v1/models/load", owner, {"model": "stubborn"})
    bodies: list[Any] = [{}, {"model": 1}, {"model": ""}, {"model": "x" * 300}, {"model": "echo", "x": 1}, []]
    strange = [await call(bare_api, "POST", "/api/v1/models/load", owner, body) for body in bodies]

    assert (unknown[0], unknown[1]["code"]) == (404, "model_not_found")
    assert (full[0], full[1]["detail"]) == (503, "there is no memory for stubborn")
    assert [(status, answer["code"]) for status, answer in strange] == [(422, "invalid_fields")] * 6


async def test_a_model_is_fetched_in_the_background(bare_api: Api) -> None:
    """The job is told at once; later it tells how far it is. Two requests for the same are one job."""
    owner = await operator(bare_api)
    body: Any = {"repo": "somebody/small-model", "file": "Q4_K_M", "name": "small"}

    begun = [await call(bare_api, "POST", "/api/v1/models/provision", owner, body) for _ in range(2)]
    job = begun[0][1]["job"]
    seen = await call(bare_api, "GET", f"/api/v1/models/provision/{job}", owner)
    other = await call(bare_api, "GET", f"/api/v1/models/provision/{job}", await bare_api.new_key())

    assert [status for status, _ in begun] == [202, 202]
    assert begun[1][1]["job"] == job
    assert (seen[0], seen[1]["state"], seen[1]["repo"]) == (200, "waiting", "somebody/small-model")
    assert (other[0], other[1]["code"]) == (403, "scope_needed")


async def test_names_that_lead_elsewhere_are_refused(bare_api: Api) -> None:
    """Nothing that a client writes becomes a path or an address."""
    owner = await operator(bare_api)
    refused: list[tuple[Any, str]] = [
        ({"repo": "../etc"}, "invalid_model"),
        ({"repo": "a/b/c"}, "invalid_model"),
        ({"repo": "https://elsewhere.example/a"}, "invalid_model"),
        ({"repo": "a/b", "file": "../../x.gguf"}, "invalid_model"),
        ({"repo": "a/b", "name": "../x"}, "invalid_model"),
        ({"repo": "a/b\x00"}, "invalid_model"),
        ({"repo": "x" * 501}, "invalid_fields"),
        ({"repo": 5}, "invalid_fields"),
        ({"file": "x"}, "invalid_fields"),
        ({"repo": "a/b", "endpoint": "http://127.0.0.1"}, "invalid_fields"),
    ]

    for wanted, code in refused:
        status, answer = await call(bare_api, "POST", "/api/v1/models/provision", owner, wanted)
        assert (status, answer["code"]) == (422, code), wanted
    for job in ("nothing", "%00", "..%2f..", "x" * 300):
        status, _ = await call(bare_api, "GET", f"/api/v1/models/provision/{job}", owner)
        assert status == 404, job
