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
    own = EgressGuard([Rule(host="imap.example.org", port=993, purpose="email")], process="api")
    monkeypatch.setattr(guards._Present, "guard", own)
    own.ledger.note(Place("imap.example.org", 993, "email"))
    engine = EgressGuard([], process="engine")
    engine.ledger.note(Place("telemetry.example", 443, ""), refused=True)
    await EgressBook(bare_operator.api.parts.bus.redis).write(engine)

    status, shown = await bare_operator.call("GET", "/egress")

    assert status == 200
    rule = {"host": "imap.example.org", "port": 993, "purpose": "email", "only_for_it": False}
    assert shown["allowed"] == [rule]
    seen = [(one["process"], one["host"], one["connections"], one["refused"]) for one in shown["connections"]]
    assert sorted(seen) == [("api", "imap.example.org", 1, 0), ("engine", "telemetry.example", 0, 1)]
