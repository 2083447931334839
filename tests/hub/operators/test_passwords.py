"""Passwords: what may be one, how they are hashed, and what checking them may cost."""

import asyncio
import threading
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from hub.operator_settings import OperatorSettings
from hub.operators.passwords import MAX_CHARS, PasswordRefused, Passwords, PasswordsBusy
from tests.hub.operators.desk import CHEAP, OTHER_PASSWORD, PASSWORD


async def test_the_defaults_are_those_of_rfc_9106() -> None:
    """Argon2id with 64 MiB, three passes and four lanes: the second recommended option of section 4."""
    passwords = Passwords(OperatorSettings())

    known = await passwords.hash(PASSWORD)

    made = extract_parameters(known)
    assert (made.type, made.memory_cost, made.time_cost, made.parallelism) == (Type.ID, 65_536, 3, 4)
    assert await passwords.matches(PASSWORD, known)
    passwords.close()


async def test_only_the_password_matches(passwords: Passwords) -> None:
    """Every hash has a salt of its own; what is no hash matches nothing."""
    known = await passwords.hash(PASSWORD)

    assert await passwords.matches(PASSWORD, known)
    assert not await passwords.matches(OTHER_PASSWORD, known)
    assert not await passwords.matches("", known)
    assert not await passwords.matches(PASSWORD + "x" * MAX_CHARS, known)
    assert not await passwords.matches(PASSWORD, "no hash")
    assert not await passwords.matches(PASSWORD, None)
    assert await passwords.hash(PASSWORD) != known


async def test_a_password_is_the_same_however_it_is_typed(passwords: Passwords) -> None:
    """Composed and decomposed letters, full width: what one keyboard sends the other may not be able to."""
    known = await passwords.hash("Cafe\u0301 am See, ２ Uhr")

    assert await passwords.matches("Café am See, 2 Uhr", known)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("elevenchars", "at least 12"),
        ("", "at least 12"),
        ("x" * (MAX_CHARS + 1), "at most 256"),
        ("aaaaaaaaaaaaaaaa", "again and again"),
        ("HubberHubber", "again and again"),
    ],
)
def test_what_is_no_password(passwords: Passwords, password: str, reason: str) -> None:
    """Its length counts."""
    with pytest.raises(PasswordRefused, match=reason):
        passwords.check(password, "hubber")


@pytest.mark.parametrize("password", ["twelve chars", "åäöåäöåäöåäö", "x" * MAX_CHARS + "", "123456789012"])
def test_what_a_password_is_made_of_is_nobodys_business(passwords: Passwords, password: str) -> None:
    """No digit, no capital letter, no sign is asked for."""
    passwords.check(password.replace("x", "xy", 1)[:MAX_CHARS], "hubber")


async def test_parameters_that_have_changed_are_noticed(passwords: Passwords) -> None:
    """So that the next sign-in can bring the hash up to date."""
    known = await passwords.hash(PASSWORD)
    dearer = Passwords(CHEAP.model_copy(update={"password_passes": 2}))

    assert dearer.is_outdated(known)
    assert await dearer.matches(PASSWORD, known)
    assert not passwords.is_outdated(known)
    dearer.close()


async def test_an_unknown_name_costs_what_a_known_one_does(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash is computed with the same parameters, whoever is asked for."""
    await passwords.matches(PASSWORD, None)
    known, verified = await passwords.hash(PASSWORD), []
    real = PasswordHasher.verify

    def verify(hasher: PasswordHasher, hashed: str, password: str) -> Any:
        verified.append(extract_parameters(hashed))
        return real(hasher, hashed, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    for one in (None, known):
        await passwords.matches(OTHER_PASSWORD, one)
        await passwords.matches("x" * 10_000, one)

    assert len(verified) == 4
    assert len(set(map(str, verified))) == 1


async def test_no_more_are_checked_at_once_than_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends many costs two threads; those beyond the queue are told to come again, and cancelling frees no place."""
    passwords = Passwords(CHEAP)
    running, most, lock, gate = 0, 0, threading.Lock(), threading.Event()

    def work(password: str, known: str | None) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(20)
        with lock:
            running -= 1
        return False

    monkeypatch.setattr(passwords, "_matches", work)
    waiting = [asyncio.create_task(passwords.matches("a", None)) for _ in range(22)]
    await asyncio.sleep(0)
    with pytest.raises(PasswordsBusy):
        await passwords.matches("a", None)
    for task in waiting[:2]:
        task.cancel()
    await asyncio.gather(*waiting[:2], return_exceptions=True)
    with pytest.raises(PasswordsBusy):
        await passwords.matches("a", None)

    gate.set()
    answers = await asyncio.gather(*waiting[2:])

    assert answers == [False] * 20
    assert most == 2
    assert not await passwords.matches("a", None)
    passwords.close()
