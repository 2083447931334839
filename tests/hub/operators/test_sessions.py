"""Sessions: tokens that are believed, and all those that are not."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from hub.messages import utc_now
from hub.operators.passwords import Passwords
from hub.operators.sessions import Given, Reused, Sessions
from hub.operators.store import Change, Operator, OperatorStore
from hub.operators.tables import OperatorRow, SessionRow, SigningKeyRow
from tests.hub.operators.desk import CHEAP, HERE, OTHER_PASSWORD, PASSWORD


@pytest.fixture
async def given(sessions: Sessions, ana: Operator) -> Given:
    """Ana's session."""
    made = await sessions.sign_in("ana", PASSWORD, HERE)
    assert made is not None
    return made


async def key_of(database: AsyncEngine) -> Any:
    """Read the key that signs."""
    query = select(SigningKeyRow).order_by(SigningKeyRow.created_at.desc()).limit(1)
    async with database.connect() as connection:
        return (await connection.execute(query)).one()


async def is_believed(sessions: Sessions, token: str) -> bool:
    """Tell whether a token opens the API."""
    return (await sessions.read(token)).session is not None


async def test_a_password_gives_tokens(sessions: Sessions, ana: Operator, given: Given) -> None:
    """The access token is Ana's for ten minutes, and says nothing but that."""
    seen = await sessions.read(given.access_token)

    assert seen.session is not None
    assert (seen.session.id, seen.session.operator.name) == (given.session.id, "ana")
    claims = jwt.decode(given.access_token, options={"verify_signature": False})
    assert claims.keys() == {"iss", "aud", "sub", "iat", "nbf", "exp", "jti"}
    assert (claims["sub"], claims["exp"] - claims["iat"]) == (ana.id, 600)
    assert given.access_expires_at - utc_now() < timedelta(minutes=10)
    assert seen.session.operator.last_signed_in_at is not None


async def test_a_wrong_name_or_password_gives_none(sessions: Sessions, ana: Operator) -> None:
    """Nor anything that looks like one."""
    for name, password in (
        ("ana", OTHER_PASSWORD),
        ("ana", ""),
        ("ANA", PASSWORD),
        ("ana ", PASSWORD),
        ("ben", PASSWORD),
        ("", ""),
        ("ana\0", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
    ):
        assert await sessions.sign_in(name, password, HERE) is None, name


async def test_no_secret_is_kept_as_it_is(database: AsyncEngine, sessions: Sessions, given: Given) -> None:
    """Of refresh tokens the database holds digests, of those that were used, too; texts of errors hold none."""
    following = await sessions.refresh(given.refresh_token)
    assert following is not None
    async with database.connect() as connection:
        kept = str(
            [
                (await connection.execute(text(f"SELECT * FROM {table}"))).all()
                for table in ("operator_sessions", "operator_used_tokens")
            ]
        )

    for one in (given, following):
        assert one.refresh_token not in kept
        assert one.refresh_token.removeprefix("hub_refresh_") not in kept
        assert one.access_token not in kept
        assert one.refresh_token not in repr(one)


async def test_what_is_signed_otherwise_is_not_believed(
    sessions: Sessions, given: Given, database: AsyncEngine
) -> None:
    """Another key, algorithm, audience, issuer, time or type; claims that are missing; a key that nobody has."""
    key = await key_of(database)
    header = {"kid": key.id, "typ": "at+jwt"}
    claims = jwt.decode(given.access_token, options={"verify_signature": False})

    def signed(
        secret: Any = key.secret,
        algorithm: str = "HS256",
        *,
        head: dict[str, Any] | None = None,
        **changed: Any,
    ) -> str:
        payload = {name: value for name, value in (claims | changed).items() if value is not ...}
        return jwt.encode(payload, secret, algorithm, headers=header if head is None else head)

    def without(name: str) -> str:
        changed: dict[str, Any] = {name: ...}
        return signed(**changed)

    assert await is_believed(sessions, signed())
    now = utc_now()
    wrong = {
        "another secret": signed(b"x" * 32),
        "the secret as hex": signed(key.secret.hex()),
        "no algorithm": signed("", "none"),
        "HS512": signed(key.secret * 2, "HS512"),
        "no key": signed(head={"typ": "at+jwt"}),
        "an unknown key": signed(head=header | {"kid": "0" * 16}),
        "a key that is a path": signed(head=header | {"kid": "../../../dev/null"}),
        "another type": signed(head=header | {"typ": "JWT"}),
        "a demand": signed(head=header | {"crit": ["exp"]}),
        "a key of its own": signed(head=header | {"jwk": {"kty": "oct", "k": "eA"}}),
        "another audience": signed(aud="hubbub-widget"),
        "several audiences": signed(aud=["hubbub-admin", "other"]),
        "another issuer": signed(iss="evil"),
        "expired": signed(exp=now - timedelta(seconds=11)),
        "not yet": signed(nbf=now + timedelta(seconds=20)),
        "from later": signed(iat=now + timedelta(seconds=20)),
        "another operator": signed(sub="0" * 12),
        "another session": signed(jti="0" * 24 + ".0"),
        "a later serial": signed(jti=f"{given.session.id}.1"),
        "a negative serial": signed(jti=f"{given.session.id}.-1"),
        "an odd id": signed(jti="x"),
        **{f"without {name}": without(name) for name in claims},
    }

    for name, token in wrong.items():
        assert not await is_believed(sessions, token), name


async def test_a_text_that_is_no_token_is_not_believed(sessions: Sessions, given: Given) -> None:
    """Cut, changed, mixed, or never one."""
    head, claims, signature = given.access_token.split(".")
    admin = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))) | {"role": "admin"}
    forged = base64.urlsafe_b64encode(json.dumps(admin).encode()).decode().rstrip("=")
    last = "A" if signature[0] != "A" else "B"

    for token in (
        "",
        ".",
        "..",
        f"{head}.{claims}.",
        f"{head}.{claims}",
        f"{head}.{claims}.{last}{signature[1:]}",
        f"{head}.{forged}.{signature}",
        f"{head}..{signature}",
        f"{given.access_token}.x",
        f" {given.access_token}",
        f"{given.access_token}\n",
        given.refresh_token,
        f"{'A' * 4000}.{claims}.{signature}",
        f"é.{claims}.{signature}",
        f"bm90IGpzb24.{claims}.{signature}",
        f"W10.{claims}.{signature}",
    ):
        assert not await is_believed(sessions, token), token


async def test_who_sends_what_has_run_out_guesses_nothing(
    sessions: Sessions, given: Given, database: AsyncEngine
) -> None:
    """It is told apart from a forgery, which is counted."""
    key = await key_of(database)
    claims = jwt.decode(given.access_token, options={"verify_signature": False})
    header = {"kid": key.id, "typ": "at+jwt"}
    old = claims | {"exp": utc_now() - timedelta(hours=1)}

    assert (await sessions.read(jwt.encode(old, key.secret, "HS256", headers=header))).was_ours
    assert not (await sessions.read(jwt.encode(old, b"x" * 32, "HS256", headers=header))).was_ours


async def test_a_refresh_token_is_good_once_and_gives_the_next(sessions: Sessions, given: Given) -> None:
    """The access token of before is believed until the next refresh, for requests on their way."""
    second = await sessions.refresh(given.refresh_token)
    assert second is not None
    assert await is_believed(sessions, given.access_token)
    third = await sessions.refresh(second.refresh_token)
    assert third is not None

    assert len({given.refresh_token, second.refresh_token, third.refresh_token}) == 3
    believed = [await is_believed(sessions, one.access_token) for one in (given, second, third)]
    assert believed == [False, True, True]
    assert {one.session.id for one in (given, second, third)} == {given.session.id}
    assert third.session.expires_at == given.session.expires_at


@pytest.mark.parametrize("generation", [0, 1])
async def test_an_old_refresh_token_ends_the_whole_family(
    sessions: Sessions, given: Given, generation: int
) -> None:
    """Whoever of the two has the newest tokens; another session goes on."""
    other = await sessions.sign_in("ana", PASSWORD, HERE)
    second = await sessions.refresh(given.refresh_token)
    assert second is not None
    third = await sessions.refresh(second.refresh_token)
    assert third is not None

    with pytest.raises(Reused) as reused:
        await sessions.refresh((given, second)[generation].refresh_token)

    assert (reused.value.session, reused.value.operator) == (given.session.id, given.session.operator.id)
    assert await sessions.refresh(third.refresh_token) is None
    assert not await is_believed(sessions, third.access_token)
    assert other is not None
    assert await is_believed(sessions, other.access_token)


async def test_of_many_refreshes_at_once_one_wins_and_the_family_ends(
    sessions: Sessions, given: Given
) -> None:
    """Two who hold the same token cannot both go on."""
    tried = (sessions.refresh(given.refresh_token) for _ in range(4))

    done = await asyncio.gather(*tried, return_exceptions=True)

    won = [one for one in done if isinstance(one, Given)]
    assert len(won) == 1
    assert sum(isinstance(one, Reused) for one in done) == 3
    assert not await is_believed(sessions, won[0].access_token)


async def test_a_refresh_token_that_was_made_up_ends_nothing(sessions: Sessions, given: Given) -> None:
    """Nor does a digest, or an access token."""
    for token in ("", "x", f"hub_refresh_{'A' * 43}", given.access_token, given.session.id, "\ud800"):
        assert await sessions.refresh(token) is None

    assert await sessions.refresh(given.refresh_token) is not None


async def test_who_makes_refresh_tokens_up_waits_for_no_writer(
    database: AsyncEngine, sessions: Sessions
) -> None:
    """Nor keeps any waiting: anybody may send as many as they like."""
    async with (
        database.execution_options(immediate=True).begin(),
        asyncio.timeout(5),
    ):
        assert await sessions.refresh(f"hub_refresh_{'A' * 43}") is None


async def test_signing_out_ends_both_tokens(sessions: Sessions, given: Given) -> None:
    """At once."""
    await sessions.end(given.session.id)

    assert not await is_believed(sessions, given.access_token)
    assert await sessions.refresh(given.refresh_token) is None


@pytest.mark.parametrize(
    ("column", "ago"), [("refreshed_at", timedelta(minutes=61)), ("expires_at", timedelta(0))]
)
async def test_a_session_ends_by_itself(
    sessions: Sessions, given: Given, database: AsyncEngine, column: str, ago: timedelta
) -> None:
    """After an hour without a refresh, and after twelve hours in any case."""
    async with database.begin() as connection:
        await connection.execute(update(SessionRow).values({column: utc_now() - ago}))

    assert await sessions.refresh(given.refresh_token) is None


async def test_who_was_shut_out_while_the_password_was_checked_does_not_come_in(
    sessions: Sessions,
    store: OperatorStore,
    ana: Operator,
    passwords: Passwords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A check takes its time; what was changed meanwhile counts."""
    ben = await store.add("ben", "admin", PASSWORD)
    real = passwords.matches
    for change in (Change(disabled=True), Change(disabled=False, password=OTHER_PASSWORD)):

        async def slow(password: str, known: str | None, change: Change = change) -> bool:
            is_right = await real(password, known)
            await store.change(ben.id, change)
            return is_right

        monkeypatch.setattr(passwords, "matches", slow)
        assert await sessions.sign_in("ben", PASSWORD, HERE) is None
        monkeypatch.undo()
        await store.change(ben.id, Change(disabled=False))


async def test_a_hash_of_earlier_settings_is_made_anew(
    database: AsyncEngine, sessions: Sessions, given: Given
) -> None:
    """At the next sign-in, and the session that begins with it is not disturbed."""
    passwords = Passwords(CHEAP.model_copy(update={"password_passes": 2}))
    dearer = Sessions(database, passwords, CHEAP)

    assert await dearer.sign_in("ana", PASSWORD, HERE) is not None

    async with database.connect() as connection:
        known = (await connection.execute(select(OperatorRow.password_hash))).scalar_one()
    assert ",t=2," in known
    assert await sessions.sign_in("ana", OTHER_PASSWORD, HERE) is None
    passwords.close()


async def test_keys_follow_each_other_by_age_and_overlap(
    database: AsyncEngine, sessions: Sessions, given: Given
) -> None:
    """A new one signs after thirty days; what the one before has signed is believed until it runs out."""
    first = await key_of(database)
    await _make_older(database, timedelta(days=31))
    second = await sessions.sign_in("ana", PASSWORD, HERE)
    assert second is not None

    assert (await key_of(database)).id != first.id
    assert jwt.get_unverified_header(second.access_token)["kid"] == (await key_of(database)).id
    assert await is_believed(sessions, given.access_token)
    await _make_older(database, timedelta(days=31))
    third = await sessions.sign_in("ana", PASSWORD, HERE)
    assert third is not None
    believed = [await is_believed(sessions, one.access_token) for one in (given, second, third)]
    assert believed == [False, True, True]
    await sessions.rotate_keys(drop=False)
    assert await is_believed(sessions, third.access_token)
    await sessions.rotate_keys(drop=True)
    assert not await is_believed(sessions, third.access_token)
    following = await sessions.refresh(third.refresh_token)
    assert following is not None
    assert await is_believed(sessions, following.access_token)


async def _make_older(database: AsyncEngine, age: timedelta) -> None:
    async with database.begin() as connection:
        for row in (await connection.execute(select(SigningKeyRow))).all():
            older = update(SigningKeyRow).where(SigningKeyRow.id == row.id)
            await connection.execute(older.values(created_at=row.created_at - age))


async def test_it_is_known_from_where_somebody_signs_in(sessions: Sessions, given: Given) -> None:
    """Also after signing out."""
    await sessions.end(given.session.id)

    assert await sessions.is_known("ana", HERE)
    assert not await sessions.is_known("ana", "192.0.2.2")
    assert not await sessions.is_known("ben", HERE)


async def test_sessions_that_are_long_over_are_removed(
    database: AsyncEngine, sessions: Sessions, given: Given
) -> None:
    """With the tokens that were used in them."""
    other = await sessions.sign_in("ana", PASSWORD, HERE)
    assert other is not None
    await sessions.refresh(given.refresh_token)
    own = update(SessionRow).where(SessionRow.id == given.session.id)
    async with database.begin() as connection:
        await connection.execute(own.values(expires_at=datetime(2026, 1, 1, tzinfo=UTC)))

    assert await sessions.trim() == 1

    async with database.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM operator_used_tokens"))).scalar_one() == 0
    assert await is_believed(sessions, other.access_token)
