"""A good history, and every way in which one can break a promise, for the tests of the checker."""

import copy
from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]
CONVERSATIONS = {"http-a": "ann", "http-b": "bob"}
MESSAGES = 3


def good() -> Rows:
    """Return the history of a run in which two people wrote three messages each, and Redis crashed once."""
    rows: Rows = [_plan()]
    turns: Rows = []
    at, fence = 10.0, 0
    for number in range(MESSAGES):
        for lane, person in CONVERSATIONS.items():
            tag, turn = f"t{number}{person}", f"{int(at)}-0"
            about = [f"t{number - 1}{person}"] if number else []
            fence += 1
            rows += _message(at, lane, person, tag, turn, fence=fence, about=about)
            turns.append({"turn": turn, "conversation": lane, "kind": "answer"})
            at += 1
    ended = [turn["turn"] for turn in turns]
    rows += [
        {
            "t": 20.0,
            "op": "survey",
            "by": "outside",
            "crashed": 13.5,
            "waiting": ended[3:],
            "ended": ended[:3],
        },
        {"t": 20.0, "op": "fault", "by": "outside", "kind": "redis killed", "began": 19.0},
        {"t": 21.0, "op": "sample", "by": "outside", "held": {"inbound": 3}},
        _final(turns),
    ]
    return rows


def _plan() -> dict[str, Any]:
    return {
        "t": 0.0,
        "op": "plan",
        "by": "outside",
        "lease_s": 1.0,
        "max_attempts": 5,
        "max_backlog": 100,
        "max_lane": 10,
        "history_turns": 50,
        "bound_s": 7.0,
        "quota": 2,
        "caps": {"http": 5},
        "room": {"inbound": 100},
    }


def _message(at: float, lane: str, person: str, tag: str, turn: str, *, fence: int, about: list[str]) -> Rows:
    """Return what a message leaves that goes straight through."""
    hub, engine, reply = "hub-1", "engine-1", f"sent:{turn}:0"
    held = {"queue": "inbound", "lane": lane}
    return [
        {
            "t": at,
            "op": "say",
            "by": "outside",
            "tag": tag,
            "conversation": lane,
            "person": person,
            "automatic": False,
        },
        {
            "t": at + 0.1,
            "op": "publish",
            "by": hub,
            "tag": tag,
            "conversation": lane,
            "result": "OK",
            "turn": turn,
            "backlog": 0,
            "lane": 0,
        },
        {
            "t": at + 0.2,
            "op": "told",
            "by": "outside",
            "tag": tag,
            "result": "ok",
            "status": 202,
            "retry_after_s": 0,
        },
        {
            "t": at + 0.3,
            "op": "enter",
            "by": engine,
            "began": at + 0.25,
            "result": "RUN",
            **held,
            "head": turn,
            "fence": fence,
            "attempts": 1,
            "crashes": 0,
        },
        {
            "t": at + 0.5,
            "op": "commit",
            "by": engine,
            "began": at + 0.4,
            "result": "IDLE",
            **held,
            "done": turn,
            "done_fence": fence,
            "died": False,
        },
        {"t": at + 0.6, "op": "begin", "by": hub, "reply": reply, "part": 0},
        {
            "t": at + 0.7,
            "op": "receive",
            "by": "outside",
            "channel": "http",
            "destination": lane,
            "person": person,
            "tag": tag,
            "kind": "answer",
            "part": 0,
            "about": about,
        },
        {"t": at + 0.8, "op": "placed", "by": hub, "reply": reply, "part": 0},
    ]


def _final(turns: Rows) -> dict[str, Any]:
    deliveries = [
        {"turn": turn["turn"], "connector": "http", "state": "placed", "unclear": 0} for turn in turns
    ]
    kept = {lane: [turn["turn"] for turn in turns if turn["conversation"] == lane] for lane in CONVERSATIONS}
    return {
        "t": 30.0,
        "op": "final",
        "by": "outside",
        "turns": turns,
        "deliveries": deliveries,
        "dead": [],
        "histories": kept,
        "unfinished": {"inbound": [], "outbound": []},
    }


def of(rows: Rows, op: str, number: int = 0) -> dict[str, Any]:
    """Return the n-th record of a kind."""
    return [row for row in rows if row["op"] == op][number]


def add(rows: Rows, like: dict[str, Any], **changed: Any) -> None:
    """Add a record like another."""
    rows.append({**copy.deepcopy(like), **changed})


def _forgets_a_message(rows: Rows) -> None:
    final = of(rows, "final")
    lost = final["turns"].pop()["turn"]
    final["deliveries"].pop()
    final["histories"]["http-b"].pop()
    rows[:] = [row for row in rows if row.get("done") != lost and lost not in str(row.get("reply"))]
    rows[:] = [row for row in rows if row["op"] != "receive" or row["tag"] != "t2bob"]


def _answers_and_gives_up(rows: Rows) -> None:
    letter = {"queue": "inbound", "entry": "10-0", "reason": "5 attempts failed", "attempts": 6}
    of(rows, "final")["dead"].append(letter)


def _accepts_twice(rows: Rows) -> None:
    add(rows, of(rows, "publish"), t=10.15, turn="10-1")


def _answers_what_nobody_said(rows: Rows) -> None:
    final = of(rows, "final")
    final["turns"].append({"turn": "99-0", "conversation": "http-c", "kind": "notice"})
    final["deliveries"].append({**final["deliveries"][0], "turn": "99-0"})


def _swaps_turns(rows: Rows) -> None:
    turns = of(rows, "final")["turns"]
    turns[0], turns[2] = turns[2], turns[0]
    of(rows, "final")["histories"]["http-a"][:2] = ["12-0", "10-0"]


def _commits_twice(rows: Rows) -> None:
    add(rows, of(rows, "commit"), t=12.0, began=11.9, done_fence=77)


def _commits_with_a_stale_fence(rows: Rows) -> None:
    entered = of(rows, "enter")
    # Another was given a newer fence and told so before the first began to commit.
    add(rows, entered, t=10.35, began=10.32, fence=50, by="engine-2")
    of(rows, "enter", 2)["fence"] = of(rows, "commit", 2)["done_fence"] = 51
    of(rows, "enter", 4)["fence"] = of(rows, "commit", 4)["done_fence"] = 52


def _gives_an_old_fence(rows: Rows) -> None:
    of(rows, "enter", 2)["fence"] = of(rows, "commit", 2)["done_fence"] = 1


def _ends_twice(rows: Rows) -> None:
    final = of(rows, "final")
    final["turns"].insert(1, dict(final["turns"][0]))


def _loses_a_reply(rows: Rows) -> None:
    of(rows, "final")["deliveries"].pop(0)


def _leaves_a_finished_entry(rows: Rows) -> None:
    of(rows, "final")["unfinished"]["inbound"].append("10-0")


def _tears_a_commit(rows: Rows) -> None:
    final = of(rows, "final")
    del final["turns"][0], final["deliveries"][0], final["histories"]["http-a"][0]
    final["dead"].append({"queue": "inbound", "entry": "10-0", "reason": "poison", "attempts": 6})


def _forgets_in_its_history(rows: Rows) -> None:
    del of(rows, "final")["histories"]["http-a"][1]


def _never_delivers(rows: Rows) -> None:
    rows.remove(of(rows, "receive"))


def _delivers_a_copy_nobody_counted(rows: Rows) -> None:
    add(rows, of(rows, "receive"), t=10.75)


def _counts_out_of_thin_air(rows: Rows) -> None:
    of(rows, "final")["deliveries"][0]["unclear"] = 1


def _delivers_out_of_order(rows: Rows) -> None:
    of(rows, "receive")["t"] = 13.9


def _stands_still(rows: Rows) -> None:
    # All of the last message's way comes ten seconds later, and nothing else was wrong.
    for row in rows:
        if row["t"] >= 15.2 and row["op"] in ("enter", "commit", "begin", "receive", "placed"):
            row["t"] += 20
            if "began" in row:
                row["began"] += 20
    of(rows, "final")["t"] = 60.0


def _tries_for_ever(rows: Rows) -> None:
    of(rows, "enter")["attempts"] = 8


def _serves_one_alone(rows: Rows) -> None:
    # Bob's first message waits, and Ann is served again and again.
    of(rows, "enter", 1)["t"] = of(rows, "enter", 1)["began"] = 11.39
    for number in range(3):
        add(
            rows,
            of(rows, "commit"),
            t=11.2 + number / 100,
            began=11.19,
            done=f"5-{number}",
            done_fence=1,
            died=True,
        )


def _takes_more_than_fits(rows: Rows) -> None:
    of(rows, "publish")["backlog"] = 100


def _takes_more_than_fits_a_lane(rows: Rows) -> None:
    of(rows, "publish")["lane"] = 20


def _refuses_without_a_word(rows: Rows) -> None:
    add(rows, of(rows, "told"), t=10.05, result="refused", status=503)


def _trims(rows: Rows) -> None:
    letter = {
        "queue": "inbound",
        "entry": "9-0",
        "reason": "the message is no longer on the stream",
        "attempts": 1,
    }
    of(rows, "final")["dead"].append(letter)


def _grows(rows: Rows) -> None:
    of(rows, "sample")["held"]["inbound"] = 101


def _tells_it_to_somebody_else(rows: Rows) -> None:
    of(rows, "receive")["person"] = "bob"


def _remembers_what_another_said(rows: Rows) -> None:
    of(rows, "receive", 2)["about"] = ["t0bob"]


def erased(rows: Rows, **how: Any) -> None:
    """Erase Bob after everything has ended."""
    rows.append(
        {
            "t": 16.5,
            "op": "erase",
            "by": "outside",
            "person": "bob",
            "conversation": "http-b",
            "began": 16.0,
            "left": [],
            **how,
        }
    )


def _keeps_words_of_the_erased(rows: Rows) -> None:
    erased(rows, left=["hubbub:{0}:history:http-b"])


def _answers_the_erased(rows: Rows) -> None:
    erased(rows)
    add(rows, of(rows, "receive", 5), t=17.0)
    of(rows, "final")["deliveries"][-1]["unclear"] = 1
    add(rows, of(rows, "begin"), t=16.9)


def _commits_for_the_erased(rows: Rows) -> None:
    erased(rows)
    add(rows, of(rows, "commit", 5), t=17.0, began=16.9)


def _loses_it_in_a_crash(rows: Rows) -> None:
    of(rows, "survey")["ended"].remove("10-0")


def _answers_automatic_mail(rows: Rows) -> None:
    of(rows, "say")["automatic"] = True


def _answers_for_ever(rows: Rows) -> None:
    of(rows, "plan")["caps"]["http"] = 2


MUTATIONS: dict[str, list[Callable[[Rows], None]]] = {
    "I1": [_forgets_a_message, _answers_and_gives_up],
    "I2": [_accepts_twice, _answers_what_nobody_said],
    "I3": [_swaps_turns],
    "I4": [_commits_twice, _commits_with_a_stale_fence, _gives_an_old_fence, _ends_twice],
    "I5": [_loses_a_reply, _leaves_a_finished_entry, _tears_a_commit, _forgets_in_its_history],
    "I6": [_never_delivers, _delivers_a_copy_nobody_counted, _counts_out_of_thin_air],
    "I7": [_delivers_out_of_order],
    "I8": [_stands_still, _tries_for_ever],
    "I9": [_serves_one_alone],
    "I10": [_takes_more_than_fits, _takes_more_than_fits_a_lane, _refuses_without_a_word, _trims, _grows],
    "I11": [_tells_it_to_somebody_else, _remembers_what_another_said],
    "I12": [_keeps_words_of_the_erased, _answers_the_erased, _commits_for_the_erased],
    "I13": [_loses_it_in_a_crash],
    "I14": [_answers_automatic_mail, _answers_for_ever],
}
