"""The operators' view of outgoing connections."""

import pytest

from hub.egress import guard as guards
from hub.egress.book import EgressBook
from hub.egress.guard import EgressGuard
from hub.egress.ledger import Place
from hub.egress.rule import Rule
from tests.hub.api.admin.operating import Operator


async def test_operators_see_what_is_allowed_and_what_was_tried(
    bare_operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every process; a place that no setting names is shown without a purpose."""
    # The question itself comes from this process, too.
    here = Rule(host="127.0.0.1", purpose="test")
    own = EgressGuard([Rule(host="imap.example.org", port=993, purpose="email"), here], process="api")
    monkeypatch.setattr(guards._Present, "guard", own)
    # Another test of this process may have let a guard stand: it would hear of this test's own connections.
    monkeypatch.setattr(guards, "_CHECKS", {})
    own.ledger.note(Place("imap.example.org", 993, "email"))
    engine = EgressGuard([], process="engine")
    engine.ledger.note(Place("telemetry.example", 443, ""), refused=True)
    await EgressBook(bare_operator.api.parts.bus.redis).write(engine)

    status, shown = await bare_operator.call("GET", "/egress")

    assert status == 200
    rule = {"host": "imap.example.org", "port": 993, "purpose": "email", "only_for_it": False}
    assert shown["allowed"][0] == rule
    seen = [
        (one["process"], one["host"], one["connections"], one["refused"])
        for one in shown["connections"]
        if one["host"] != here.host
    ]
    assert sorted(seen) == [("api", "imap.example.org", 1, 0), ("engine", "telemetry.example", 0, 1)]
