"""Names are fixed: docs/metrics.md, dashboards and alerts use those the exporter has, with the labels it gives."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hub.metrics import Metrics
from tests.settings_tree import ROOT

DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
ALERT_TESTS = DEPLOY / "prometheus" / "alerts.test.yml"
OF_THE_LIBRARY = ("process_", "python_")
FROM_SCRAPING = {"instance", "job"}
OF_EACH_PROCESS = ("up", "hubbub_http_", "hubbub_key_requests", "hubbub_build")
"""What every process tells of itself alone, and may be added up."""


class Described(NamedTuple):
    """A metric by its type and labels."""

    type: str
    labels: frozenset[str]


def exported() -> dict[str, Described]:
    """Give every metric of the exporter under the name a scraper sees."""
    metrics = Metrics()
    families = list(metrics.state.describe())
    own: list[Any] = [one for one in vars(metrics).values() if hasattr(one, "_labelnames")]
    found = {one._name: Described(one._type, frozenset(one._labelnames)) for one in own}
    found |= {one.name: Described(one.type, frozenset(getattr(one, "_labelnames", ()))) for one in families}
    return {name + "_total" * (told.type == "counter"): told for name, told in found.items()}


def documented() -> dict[str, Described]:
    """Give every metric of docs/metrics.md."""
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| .+ \|$", text, re.MULTILINE)
    return {name: Described(kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_the_document_describes_exactly_what_is_exported() -> None:
    """Both ways, with types and labels."""
    assert documented() == exported()


def test_a_scrape_holds_nothing_else() -> None:
    """Beside what the library tells of the process itself."""
    families = {family.name for family in Metrics().registry.collect()}
    known = {name.removesuffix("_total") for name in exported()}

    assert {name for name in families if not name.startswith(OF_THE_LIBRARY)} == known


def test_old_names_stay() -> None:
    """Whoever scraped earlier systems goes on without a change."""
    assert {"inference_count", "last_latency", "cache_hits", "cache_misses"} <= exported().keys()


class Use(NamedTuple):
    """What an expression asks for."""

    metric: str
    labels: frozenset[str]


GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
WORDS = {"and", "or", "unless", "bool", "offset"}


def uses(expression: str) -> tuple[list[Use], set[str]]:
    """Find the metrics of an expression with the labels they are chosen by, and the labels it groups by."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r"\[[^\]]*\]", "", text)
    groups = {label.strip() for inner in GROUPING.findall(text) for label in inner.split(",")}
    text = GROUPING.sub(" ", text)
    found = [
        Use(name, frozenset(re.findall(r"(\w+)\s*[=!]", matchers)))
        for name, matchers in re.findall(r"\b([a-zA-Z_:][\w:]*)\b(?!\s*\()(?:\s*\{([^}]*)\})?", text)
        if name not in WORDS
    ]
    return found, groups


def expressions(dashboard: Path) -> list[str]:
    """Give the queries of a dashboard, with Grafana's variables filled in."""
    panels = json.loads(dashboard.read_text("utf-8"))["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    return [expression.replace("$__rate_interval", "5m") for expression in found]


def rules() -> list[dict[str, Any]]:
    """Give the alert rules."""
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def every_expression() -> Iterator[tuple[str, str]]:
    """Give each query with where it stands."""
    for dashboard in DASHBOARDS:
        for number, expression in enumerate(expressions(dashboard)):
            yield f"{dashboard.stem}-{number}", expression
    for rule in rules():
        yield rule["alert"], rule["expr"]


def metric_of(name: str, known: dict[str, Described]) -> Described | None:
    """Find a metric by the name of one of its series."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    if base in known and known[base].type == "histogram" and base != name:
        extra = {"le"} if name.endswith("_bucket") else set[str]()
        return Described("histogram", known[base].labels | extra)
    told = known.get(name)
    return None if told is None or told.type == "histogram" else told


def test_dashboards_and_alerts_use_what_is_exported() -> None:
    """Every name, and every label it is chosen or grouped by; and what all processes tell alike is not added up."""
    known = exported() | {"up": Described("gauge", frozenset())}
    for place, expression in every_expression():
        found, groups = uses(expression)
        assert found, place
        allowed = set(FROM_SCRAPING)
        for use in found:
            told = metric_of(use.metric, known)
            assert told is not None, f"{place}: there is no {use.metric}"
            assert use.labels <= told.labels | FROM_SCRAPING, f"{place}: {use}"
            allowed |= told.labels
            if not use.metric.startswith(OF_EACH_PROCESS):
                assert re.search(r"\b(max|min|count)\b", expression), place
        assert groups <= allowed, f"{place}: {groups - allowed}"


def test_an_unknown_name_or_label_would_be_found() -> None:
    """The reader of expressions sees through functions, ranges, groups and strings."""
    found, groups = uses(
        'max by (a, le) (rate(one_total{b="x{y", c!~"max"}[5m])) / on (d) (two > 0) unless three'
    )

    assert found == [
        Use("one_total", frozenset({"b", "c"})),
        Use("two", frozenset()),
        Use("three", frozenset()),
    ]
    assert groups == {"a", "le", "d"}


def test_every_metric_is_watched_somewhere() -> None:
    """What nobody looks at need not be told; the old names are for old scrapers."""
    used = {use.metric for _, expression in every_expression() for use in uses(expression)[0]}
    seen = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used} | used

    assert set(exported()) - seen <= {"cache_misses", "inference_count", "last_latency"}


def test_names_follow_the_rules_of_prometheus() -> None:
    """All but one, which older scrapers know."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=Metrics().text(), capture_output=True, check=False
    )
    complaints = done.stderr.decode().splitlines()

    assert [line.partition(" ")[0] for line in complaints] == ["inference_count"]


def promtool(*words: str, cwd: Path) -> None:
    """Run Prometheus' own checks."""
    done = subprocess.run(["promtool", *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration_and_the_alerts() -> None:
    """As promtool says, which also tries every alert with two hubs that tell the same."""
    promtool("check", "config", "prometheus.yml", cwd=ALERTS.parent)
    promtool("test", "rules", ALERT_TESTS.name, cwd=ALERTS.parent)


def test_every_alert_is_tried_both_ways() -> None:
    """Each stands among those that stay quiet, and fires in another test."""
    tests = yaml.safe_load(ALERT_TESTS.read_text("utf-8"))["tests"]
    names = {rule["alert"] for rule in rules()}
    quiet = {one["alertname"] for one in tests[0]["alert_rule_test"]}
    samples = [one for test in tests for one in test.get("promql_expr_test", ()) if one["exp_samples"]]
    fired = {name for one in samples for name in re.findall(r'alertname="(\w+)"', one["expr"])}

    assert (quiet, fired) == (names, names)


def test_queries_of_the_dashboards_are_promql(tmp_path: Path) -> None:
    """Prometheus reads each of them."""
    written = [
        {"record": f"dashboards:{dashboard.stem}:{number}", "expr": expression}
        for dashboard in DASHBOARDS
        for number, expression in enumerate(expressions(dashboard))
    ]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "dashboards", "rules": written}]})
    )

    promtool("check", "rules", "rules.yml", cwd=tmp_path)


def test_dashboards_can_be_imported_side_by_side() -> None:
    """Each has an id of its own, panels that do not overlap, and a data source the operator chooses."""
    shown = [json.loads(dashboard.read_text("utf-8")) for dashboard in DASHBOARDS]

    assert [one["uid"] for one in shown] == [f"hubbub-{dashboard.stem}" for dashboard in DASHBOARDS]
    assert {dashboard.stem for dashboard in DASHBOARDS} == {"overview", "models", "channels", "bus"}
    for one in shown:
        assert [row["name"] for row in one["templating"]["list"]] == ["datasource"]
        cells = [
            (x, y)
            for panel in one["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
