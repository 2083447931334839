"""Operators over HTTP: made, changed and removed by admins, never by themselves; and what the audit log says of it."""

from datetime import timedelta
from typing import Any

import pytest

from hub.api.admin.operators import PATH
from hub.database import DatabaseError
from hub.messages import utc_now
from hub.operators.store import Operator as Account
from hub.operators.store import OperatorStore
from tests.hub.api.admin.operating import FERRY, PREFIX, Operator, holder
from tests.hub.api.admin.signing_in import SESSION, Person, operators_of, person
from tests.hub.operators.desk import OTHER_PASSWORD, PASSWORD

AUDIT = f"{PREFIX}/audit"


@pytest.fixture
async def ana(bare_operator: Operator) -> Person:
    """An admin who has signed in."""
    made = await person(bare_operator.api, "ana", "admin")
    await made.sign_in()
    return made


def store_of(ana: Person) -> OperatorStore:
    """Return the accounts of Ana's hub."""
    return operators_of(ana.api).store


async def add(ana: Person, name: str, role: str) -> Account:
    """Let Ana make an operator."""
    status, answer = await ana.send("POST", PATH, {"name": name, "role": role, "password": PASSWORD})
    assert status == 201, answer
    found = await store_of(ana).one(answer["id"])
    assert found is not None
    return found


async def test_an_admin_makes_changes_and_removes_operators(ana: Person) -> None:
    """Who can sign in at once, and not any more at once."""
    ben = Person(ana.api, await add(ana, "ben", "viewer"))
    assert (await ben.sign_in())[0] == 200
    one = f"{PATH}/{ben.account.id}"

    status, listed = await ana.send("GET", PATH)
    assert (status, [row["name"] for row in listed["items"]]) == (200, ["ana", "ben"])
    assert "hash" not in str(listed)
    assert (await ana.send("PATCH", one, {"role": "operator"}))[1]["role"] == "operator"
    assert (await ben.send("GET", SESSION))[0] == 401
    assert (await ana.send("PATCH", one, {"password": OTHER_PASSWORD}))[0] == 200
    assert (await ben.sign_in())[0] == 401
    assert (await ben.sign_in(OTHER_PASSWORD))[0] == 200
    assert (await ana.send("PATCH", one, {"disabled": True}))[1]["disabled_at"] is not None
    assert (await ben.send("GET", SESSION))[0] == 401
    assert (await ana.send("PATCH", one, {"disabled": False, "role": "viewer"}))[1]["disabled_at"] is None
    assert (await ana.send("GET", one))[1]["role"] == "viewer"
    assert (await ana.send("DELETE", one))[0] == 204
    assert (await ana.send("GET", one))[0] == 404
    assert (await ana.send("DELETE", one))[0] == 404


async def test_what_cannot_be_an_operator_is_refused(ana: Person) -> None:
    """With the field that is wrong; a name is given once."""
    new = {"name": "ben", "role": "viewer", "password": PASSWORD}
    bodies: list[tuple[dict[str, Any], int, str]] = [
        (new | {"name": "Ben"}, 422, "name"),
        (new | {"name": ""}, 422, "name"),
        (new | {"role": "owner"}, 422, "role"),
        (new | {"role": "Admin"}, 422, "role"),
        (new | {"password": "short"}, 422, "password"),
        (new | {"id": "1"}, 422, "id"),
        ({"name": "ben", "role": "viewer"}, 422, "password"),
        (new | {"name": "ana"}, 409, ""),
    ]

    for body, expected, named in bodies:
        status, answer = await ana.send("POST", PATH, body)
        assert status == expected, body
        assert not named or answer["errors"][0]["field"] == named
    assert [one.name for one in await store_of(ana).all()] == ["ana"]
    one = f"{PATH}/{(await add(ana, 'ben', 'viewer')).id}"
    for body in ({}, {"name": "cleo"}, {"role": "root"}, {"disabled": 1}, {"password": "short"}):
        assert (await ana.send("PATCH", one, body))[0] == 422, body


async def test_nobody_raises_themselves(ana: Person) -> None:
    """Neither whoever may not see operators at all, nor an admin, who could only make themselves less."""
    own = f"{PATH}/{ana.account.id}"
    for body in ({"role": "viewer"}, {"role": "admin"}, {"disabled": True}, {"password": OTHER_PASSWORD}):
        status, answer = await ana.send("PATCH", own, body)
        assert (status, answer["code"]) == (403, "own_account")
    assert (await ana.send("DELETE", own))[1]["code"] == "own_account"
    for role in ("viewer", "operator"):
        one = Person(ana.api, await add(ana, role, role))
        await one.sign_in()
        for method, path, body in (
            ("PATCH", f"{PATH}/{one.account.id}", {"role": "admin"}),
            ("POST", PATH, {"name": "mallory", "role": "admin", "password": PASSWORD}),
            ("PUT", f"{SESSION}/password", {"password": PASSWORD, "new_password": PASSWORD, "role": "admin"}),
        ):
            status, answer = await one.send(method, path, body)
            assert (status, answer["code"]) in ((403, "role_needed"), (422, "invalid_fields"))
        assert (await one.send("GET", SESSION))[1]["role"] == role

    assert {one.name: one.role for one in await store_of(ana).all()} == {
        "ana": "admin",
        "operator": "operator",
        "viewer": "viewer",
    }


async def test_a_key_that_is_kept_to_something_lets_nobody_in_who_is_not(bare_operator: Operator) -> None:
    """Neither by a new account nor by one that is there; to shut somebody out it may all the same."""
    ben = (await person(bare_operator.api, "ben", "viewer")).account
    new = {"name": "mallory", "role": "admin", "password": PASSWORD}
    for limits in ({"networks": ("127.0.0.0/8", "::1/128")}, {"expires_at": utc_now() + timedelta(days=2)}):
        kept = await holder(bare_operator.api, "admin", **limits)
        for method, path, body in (
            ("POST", "/operators", new),
            ("PATCH", f"/operators/{ben.id}", {"role": "admin"}),
            ("PATCH", f"/operators/{ben.id}", {"password": OTHER_PASSWORD}),
            ("PATCH", f"/operators/{ben.id}", {"disabled": False}),
            ("PATCH", f"/operators/{ben.id}", {"disabled": True, "role": "admin"}),
        ):
            status, answer = await kept.call(method, path, body)
            assert (status, answer["code"]) == (403, "more_than_own"), (limits, body)
        assert (await kept.call("PATCH", f"/operators/{ben.id}", {"disabled": True}))[0] == 200
    assert [one.name for one in await operators_of(bare_operator.api).store.all()] == ["ben"]


async def test_a_key_lets_no_admin_in_who_hands_out_more_than_it_may(bare_operator: Operator) -> None:
    """An admin makes keys of every scope and tier; whoever is less makes none."""
    api = bare_operator.api
    cleo = (await person(api, "cleo", "admin")).account
    for name, key in (("ada", await holder(api, "admin")), ("bob", await holder(api, tier="pro"))):
        for method, path, body in (
            ("POST", "/operators", {"name": "mallory", "role": "admin", "password": PASSWORD}),
            ("PATCH", f"/operators/{cleo.id}", {"password": OTHER_PASSWORD}),
        ):
            status, answer = await key.call(method, path, body)
            assert (status, answer["code"]) == (403, "more_than_own"), body
        status, _ = await key.call(
            "POST", "/operators", {"name": name, "role": "operator", "password": PASSWORD}
        )
        assert status == 201
    full = await holder(api)

    assert (await full.call("PATCH", f"/operators/{cleo.id}", {"password": OTHER_PASSWORD}))[0] == 200
    assert (await full.call("POST", "/operators", {"name": "dora", "role": "admin", "password": PASSWORD}))[
        0
    ] == 201


async def test_the_last_admin_stays_whoever_asks(ana: Person, bare_operator: Operator) -> None:
    """Also for a key, which is nobody's own account."""
    one = f"/operators/{ana.account.id}"
    for method, body in (("DELETE", None), ("PATCH", {"role": "viewer"}), ("PATCH", {"disabled": True})):
        status, answer = await bare_operator.call(method, one, body)
        assert (status, answer["code"]) == (409, "last_admin")

    await add(ana, "ben", "admin")

    assert (await bare_operator.call("PATCH", one, {"role": "viewer"}))[0] == 200


# -- the audit log -----------------------------------------------------------------------------------------


async def test_the_audit_log_says_who_did_what(operator: Operator) -> None:
    """One entry for each change, with ids and numbers, and nothing of what anybody said or chose as a password."""
    ana = await person(operator.api, "ana", "admin")
    ids = await _changes(ana, operator)

    key = await operator.api.parts.keys.list()
    me, by_key = ("operator", ana.account.id, "ana"), ("key", key[0].id, "")
    expected = [
        (*me, "sign_in", "", ana.account.id, "refused", "wrong_credentials"),
        (*me, "sign_in", "signed_in", ana.account.id, "done", ""),
        (*me, "put_collection", "collection_made", "timetable", "done", ""),
        (*me, "put_collection", "audience_changed", "timetable", "done", ""),
        (*me, "put_document", "document_added", f"timetable/{ids['document']}", "done", ""),
        (*me, "put_document", "", "", "unchanged", ""),
        (*me, "put_document", "", "", "refused", "empty"),
        (*me, "remove_document", "document_removed", f"timetable/{ids['document']}", "done", ""),
        (*by_key, "remove_collection", "collection_removed", "timetable", "done", ""),
        (*me, "forget_gap", "", "", "refused", "not_found"),
        (*me, "begin_erasure", "erasure_begun", ids["erasure"], "done", ""),
        (*me, "add_operator", "operator_added", ids["operator"], "done", ""),
        (*me, "change_operator", "role_changed", ids["operator"], "done", ""),
        (*me, "change_operator", "", "", "unchanged", ""),
        (*me, "remove_operator", "operator_removed", ids["operator"], "done", ""),
        (*me, "remove_operator", "", "", "refused", "own_account"),
        (*me, "refresh_session", "session_ended", ana.account.id, "done", "refresh_token_reused"),
        (*me, "sign_in", "signed_in", ana.account.id, "done", ""),
        (*me, "change_password", "password_changed", ana.account.id, "done", ""),
        (*by_key, "sign_out", "", "", "refused", "no_session"),
    ]
    pages = await operator.pages("/audit", limit="7")
    rows = [row for page in pages for row in page]
    names = ("actor_kind", "actor", "actor_name", "action", "change", "target", "outcome", "code")

    assert [tuple(row[name] for name in names) for row in reversed(rows)] == expected
    assert {row["address"] for row in rows} == {"127.0.0.1"}
    assert len({row["request"] for row in rows}) == len(rows)
    assert rows[-9]["numbers"] == {"documents": 0}
    for secret in (PASSWORD, OTHER_PASSWORD, "wrong password", "ferry", "Ferry", "telegram/1/2", "site:shop"):
        assert secret not in str(rows), secret


async def _changes(ana: Person, operator: Operator) -> dict[str, str]:
    await ana.sign_in("wrong password")
    await ana.sign_in()
    ids, collection = {}, f"{PREFIX}/collections/timetable"
    by_ana = Operator(operator.api, {"Authorization": f"Bearer {ana.tokens['access_token']}"})
    for audience in ("public", "site:shop"):
        await ana.send("PUT", collection, {"audience": audience})
    _, answer = await by_ana.upload("timetable", "ferry.md", FERRY)
    ids["document"] = str(answer["document"]["id"])
    await by_ana.upload("timetable", "ferry.md", FERRY)
    await by_ana.upload("timetable", "empty.md", b"")
    await ana.send("DELETE", f"{collection}/documents/{ids['document']}")
    await operator.call("DELETE", "/collections/timetable")
    await ana.send("DELETE", f"{PREFIX}/gaps/7")
    _, answer = await ana.send("POST", f"{PREFIX}/erasures", {"identities": ["telegram/1/2"]})
    ids["erasure"] = answer["id"]
    ids["operator"] = (await add(ana, "ben", "viewer")).id
    for _ in range(2):
        await ana.send("PATCH", f"{PATH}/{ids['operator']}", {"role": "operator"})
    await ana.send("DELETE", f"{PATH}/{ids['operator']}")
    await ana.send("DELETE", f"{PATH}/{ana.account.id}")
    old = ana.tokens["refresh_token"]
    await ana.refresh()
    await ana.refresh(old)
    await ana.sign_in()
    await ana.send("PUT", f"{SESSION}/password", {"password": PASSWORD, "new_password": OTHER_PASSWORD})
    await operator.call("DELETE", "/session")
    return ids


async def test_the_audit_log_is_looked_through(ana: Person) -> None:
    """By actor, action, change, target, outcome and time; what cannot be meant is refused."""
    ben = await add(ana, "ben", "viewer")
    await ana.send("DELETE", f"{PATH}/{ben.id}")
    await ana.send("DELETE", f"{PATH}/{ben.id}")

    async def found(**query: str) -> list[str]:
        path = f"{AUDIT}?" + "&".join(f"{name}={value}" for name, value in query.items())
        status, answer = await ana.send("GET", path)
        assert status == 200, answer
        return [row["action"] for row in answer["items"]]

    assert await found() == ["remove_operator", "remove_operator", "add_operator", "sign_in"]
    assert await found(change="operator_removed") == ["remove_operator"]
    assert await found(outcome="refused") == ["remove_operator"]
    assert await found(target=ben.id) == ["remove_operator", "add_operator"]
    assert await found(actor=ana.account.id, action="add_operator") == ["add_operator"]
    assert await found(actor="ana") == []
    assert await found(until="2026-01-01T00:00:00Z") == []
    assert len(await found(since="2026-01-01T00:00:00%2B05:00")) == 4
    for query in (
        "outcome=fine",
        "actor_kind=person",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "since=1767225600",
        "since=9999-12-31T23:59:59-05:00",
        "until=0001-01-01T00:00:00%2B05:00",
        "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
        "actor=" + "x" * 301,
    ):
        assert (await ana.send("GET", f"{AUDIT}?{query}"))[0] == 422, query


async def test_a_key_of_self_service_is_written_down(ana: Person) -> None:
    """With the address that it was given to, because nobody is known but by that; what was refused made none."""
    api, made = ana.api, []
    for path in ("/generate-key?tier=free", "/api/v1/generate-key?tier=pro", "/generate-key?tier=own"):
        async with api.session.post(api.url + path) as response:
            made.append((response.status, await response.json()))

    _, answer = await ana.send("GET", f"{AUDIT}?actor_kind=anybody")

    assert [status for status, _ in made] == [200, 200, 403]
    ids = [answer["api_key"].removeprefix("cc_live_").partition("_")[0] for _, answer in made[:2]]
    assert [(row["action"], row["change"], row["target"]) for row in answer["items"]] == [
        ("generate_key", "key_created", ids[1]),
        ("generate_key_short", "key_created", ids[0]),
    ]
    assert {(row["actor"], row["address"], row["outcome"]) for row in answer["items"]} == {
        ("", "127.0.0.1", "done")
    }


async def test_nothing_is_changed_that_cannot_be_written_down(
    ana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its entry a change is not begun; where the outcome cannot be written the entry says that it was."""
    assert ana.api.parts.admin is not None
    audit = ana.api.parts.admin.audit
    new = {"name": "ben", "role": "viewer", "password": PASSWORD}
    real = audit._insert

    async def broken(*_: object) -> int:
        raise _away()

    monkeypatch.setattr(audit, "_insert", broken)
    status, answer = await ana.send("POST", PATH, new)
    assert (status, answer["code"]) == (503, "unavailable")
    assert [one.name for one in await store_of(ana).all()] == ["ana"]
    monkeypatch.setattr(audit, "_insert", real)
    monkeypatch.setattr(audit, "end", broken)
    assert (await ana.send("POST", PATH, new))[0] == 201
    monkeypatch.undo()

    _, listed = await ana.send("GET", f"{AUDIT}?outcome=begun")
    assert [row["action"] for row in listed["items"]] == ["add_operator"]


def _away() -> DatabaseError:
    return DatabaseError("the audit log could not be written")
