"""Models as operators work on them: seen, chosen, loaded, unloaded and fetched, by role, with entries of the audit log."""

from typing import Any

import pytest

from tests.hub.api.admin.operating import Operator, signed_in
from tests.hub.api.model_engine import ModelEngine


@pytest.fixture
async def engine(bare_operator: Operator) -> ModelEngine:
    """The engine of the operator's hub, with a model that is loaded, one that failed, and one that runs elsewhere."""
    made = ModelEngine(bare_operator.api)
    echo, slow, stubborn = made.states
    made.states = [
        echo.model_copy(update={"state": "loaded", "memory_bytes": 123}),
        slow.model_copy(update={"state": "failed", "error": "slow.gguf is damaged"}),
        stubborn.model_copy(update={"type": "remote"}),
    ]
    await made.start()
    return made


async def test_the_models_are_listed_chosen_and_paged(bare_operator: Operator, engine: ModelEngine) -> None:
    """By name, with state and memory; for whoever has signed in, whatever their role."""
    viewer = await signed_in(bare_operator.api, "viewer")

    async def names(**query: str) -> list[list[str]]:
        return [[one["name"] for one in page] for page in await viewer.pages("/models", **query)]

    (everything,) = await viewer.pages("/models")
    assert [(one["name"], one["state"], one["memory_bytes"], one["error"]) for one in everything] == [
        ("echo", "loaded", 123, ""),
        ("slow", "failed", 0, "slow.gguf is damaged"),
        ("stubborn", "unloaded", 0, ""),
    ]
    assert await names(limit="2") == [["echo", "slow"], ["stubborn"]]
    assert await names(state="loaded") == [["echo"]]
    assert await names(type="gguf", limit="1") == [["echo"], ["slow"]]
    assert await names(type="remote", state="unloaded") == [["stubborn"]]
    assert await names(type="onnx") == [[]]


async def test_models_are_asked_for_strictly(bare_operator: Operator, engine: ModelEngine) -> None:
    """What is no state, no type and no page is refused and not passed over."""
    wrong = [
        ({"state": "LOADED"}, 422),
        ({"state": ""}, 422),
        ({"type": "exe"}, 422),
        ({"name": "echo"}, 400),
        ({"limit": "0"}, 422),
        ({"limit": "201"}, 422),
        ({"sort": "name"}, 400),
        ({"cursor": "%%%"}, 400),
    ]

    for query, status in wrong:
        assert (await bare_operator.call("GET", "/models", query=query))[0] == status, query


async def test_each_role_changes_models_as_far_as_it_goes(
    bare_operator: Operator, engine: ModelEngine
) -> None:
    """Operators load and unload, admins fetch, viewers look; each change and each refusal is in the audit log."""
    api = bare_operator.api
    viewer, worker, admin = [await signed_in(api, role) for role in ("viewer", "operator", "admin")]

    async def done(who: Operator, action: str, body: Any) -> tuple[int, Any]:
        return await who.call("POST", f"/models/{action}", body)

    refused = [
        await done(viewer, "load", {"model": "echo"}),
        await done(viewer, "unload", {"model": "echo"}),
        await done(worker, "provision", {"repo": "owner/name"}),
    ]
    unloaded = await done(worker, "unload", {"model": "general"})
    loaded = await done(worker, "load", {"model": "slow"})
    full = await done(worker, "load", {"model": "stubborn"})
    unknown = await done(worker, "load", {"model": "gpt-9"})
    fetched = await done(admin, "provision", {"repo": "owner/name", "name": "qwen"})
    job = await viewer.call("GET", f"/models/provision/{fetched[1]['job']}")

    assert [(status, answer["code"]) for status, answer in refused] == [(403, "role_needed")] * 3
    assert [(one["name"], one["state"]) for one in unloaded[1]["models"]] == [("echo", "unloaded")]
    assert [(one["name"], one["state"]) for one in loaded[1]["models"]] == [("slow", "loaded")]
    assert (full[0], full[1]["code"]) == (503, "model_unavailable")
    assert (unknown[0], unknown[1]["code"]) == (404, "model_not_found")
    assert (fetched[0], job[0], job[1]["state"]) == (202, 200, "waiting")
    (entries,) = await admin.pages("/audit", limit="200")
    told = [
        (one["actor_name"], one["action"], one["change"] or one["code"], one["target"], one["outcome"])
        for one in reversed(entries)
    ]
    assert told == [
        ("viewer", "admin_load_model", "role_needed", "", "refused"),
        ("viewer", "admin_unload_model", "role_needed", "", "refused"),
        ("operator", "admin_provision_model", "role_needed", "", "refused"),
        ("operator", "admin_unload_model", "model_unloaded", "echo", "done"),
        ("operator", "admin_load_model", "model_loaded", "slow", "done"),
        ("operator", "admin_load_model", "model_unavailable", "", "failed"),
        ("operator", "admin_load_model", "model_not_found", "", "refused"),
        ("admin", "admin_provision_model", "model_fetch_begun", fetched[1]["job"], "done"),
    ]
