"""What must hold of manifests for Kubernetes: each rule looks at rendered ones and complains in words."""

import functools
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import kubernetes_validate
import typer.main
import yaml
from typer.core import TyperGroup

from hub.api.health import HealthRoutes
from hub.api.parts import ApiParts
from hub.app import roles_of
from hub.cli.commands import app
from hub.secret_sources.names import kind_of, path_of
from hub.settings import Settings
from tests.hub.metrics.test_names import Described, exported, metric_of, uses
from tests.kubernetes_selection import Manifest, matches, of_kind, title
from tests.settings_tree import ROOT, environment_name, leaves

SCHEMAS = ("1.30", "1.37")
"""Versions of Kubernetes whose schemas are asked: the oldest that is meant, and the latest that is known."""
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
USERS = {
    "hubbub": int(re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)[0]),
    "redis": int(COMPOSE["redis"]["user"].partition(":")[0]),
}
LABELS_OF_SCRAPING = {"namespace", "pod", "track", "instance", "job"}
"""What deploy/kubernetes/scrape.yml adds."""


@functools.cache
def defaults() -> Settings:
    """Give the settings as they are at first."""
    return Settings()


@functools.cache
def known_commands() -> frozenset[str]:
    """Name what `hubbub` can be told to do."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return frozenset(group.commands)


@functools.cache
def known_variables() -> frozenset[str]:
    """Name the variables that set something."""
    names = {environment_name(*path) for path, _ in leaves(defaults())}
    return frozenset(names | {"HUBBUB_SETTINGS", "HUBBUB_SECRETS_DIR"})


@functools.cache
def told() -> dict[str, Described]:
    """Give the metrics that a hub tells."""
    return exported()


def complaints(manifests: Sequence[Manifest]) -> list[str]:
    """Look at everything."""
    rules = (schemas, places, pods_without_rights, containers, probes, commands, references, selectors)
    more = (settings, secrets, scaling, data_on_one_node, access)
    return [complaint for rule in (*rules, *more) for complaint in rule(manifests)]


def pods(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Give what starts Pods, by name, with the template of the Pods."""
    for one in of_kind(manifests, "Deployment", "StatefulSet", "CronJob"):
        spec = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one["spec"]
        yield title(one), spec["template"]


def every_container(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Give every container by its name."""
    for name, pod in pods(manifests):
        for one in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            yield f"{name}/{one['name']}", one


# -- schemas ------------------------------------------------------------------------------------------------


def schemas(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of what Kubernetes would not take, unknown fields included."""
    for one in manifests:
        if one["apiVersion"].startswith("keda.sh/"):
            continue
        text = json.dumps(one, sort_keys=True)
        yield from (f"{title(one)}: {said}" for version in SCHEMAS for said in _invalid(text, version))


@functools.cache
def _invalid(text: str, version: str) -> tuple[str, ...]:
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        return (error.message,)
    except kubernetes_validate.ValidationError as error:
        return (f"{'.'.join(map(str, error.path))}: {error.message}",)
    return ()


def places(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of what would land in whichever namespace somebody has chosen."""
    for one in manifests:
        if one["kind"] != "Namespace" and one["metadata"].get("namespace") != "hubbub":
            yield f"{title(one)} is not in the namespace"


# -- Pods ---------------------------------------------------------------------------------------------------


def pods_without_rights(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of Pods that may do more than they need."""
    for name, pod in pods(manifests):
        spec = pod["spec"]
        user = USERS["redis" if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "redis" else "hubbub"]
        wanted = {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            **dict.fromkeys(("hostNetwork", "hostPID", "hostIPC"), None),
        }
        yield from (f"{name}: {key}" for key, value in wanted.items() if spec.get(key) != value)
        context = spec.get("securityContext", {})
        rights = {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "fsGroup": user}
        yield from (f"{name}: {key}" for key, value in rights.items() if context.get(key) != value)
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: seccompProfile"
        if any("hostPath" in volume for volume in spec.get("volumes", ())):
            yield f"{name}: hostPath"


def containers(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of containers without limits, with rights, or of no certain version."""
    images = {f"hubbub:{VERSION}", f"hubbub:v{VERSION}", COMPOSE["redis"]["image"]}
    for name, one in every_container(manifests):
        context = one.get("securityContext", {})
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name}: capabilities"
        if not context.get("readOnlyRootFilesystem") or context.get("privileged"):
            yield f"{name}: readOnlyRootFilesystem"
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{name}: allowPrivilegeEscalation"
        for kind in ("requests", "limits"):
            if set(one.get("resources", {}).get(kind, ())) != {"cpu", "memory"}:
                yield f"{name}: {kind}"
        if one["image"].rpartition("/")[2] not in images:
            yield f"{name}: there is no image {one['image']}"


def probes(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of containers that nobody looks at, and of those that are ended because another one is away."""
    open_paths = {
        route.path for route in HealthRoutes(cast("ApiParts", None)).routes() if route.access.is_probe
    }
    for name, pod in pods(manifests):
        if name.startswith("CronJob"):
            continue
        for one in pod["spec"]["containers"]:
            ports = {port["name"] for port in one.get("ports", ())}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = one.get(kind)
                if probe is None:
                    yield f"{name}: no {kind}"
                    continue
                asked = probe.get("httpGet") or probe.get("tcpSocket") or {}
                if asked and asked["port"] not in ports:
                    yield f"{name}: {kind}: there is no port {asked['port']}"
                if "path" in asked and asked["path"] not in open_paths:
                    yield f"{name}: {kind}: there is no route {asked['path']}"
                if kind != "readinessProbe" and "path" in asked:
                    yield f"{name}: {kind}: {asked['path']} fails without Redis"


def commands(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of commands and roles that there are not, and of ports that nobody listens on."""
    for name, one in every_container(manifests):
        words = one.get("command", [])
        if words[:2] == ["hubbub", "run"]:
            unknown = set(words[2:]) - set(roles_of(defaults()))
            yield from (f"{name}: there is no role {role}" for role in sorted(unknown))
            served = {port["containerPort"] for port in one.get("ports", ())}
            if not served <= {defaults().api.port}:
                yield f"{name}: the port is {defaults().api.port}"
        for word in re.findall(r"\bhubbub ([a-z]+)\b", " ".join(words)):
            if word not in known_commands():
                yield f"{name}: there is no command {word}"


# -- what belongs together ----------------------------------------------------------------------------------


def references(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of names that nothing has."""
    there = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    there |= {("Secret", one["metadata"]["name"]) for one in example_secrets()}
    for name, pod in pods(manifests):
        spec = pod["spec"]
        named = [("ServiceAccount", spec["serviceAccountName"])]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
        for volume in volumes.values():
            named += [("ConfigMap", volume["configMap"]["name"])] if "configMap" in volume else []
            named += [("Secret", volume["secret"]["secretName"])] if "secret" in volume else []
            if "persistentVolumeClaim" in volume:
                named.append(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
        for one in (*spec.get("initContainers", ()), *spec["containers"]):
            named += [("ConfigMap", source["configMapRef"]["name"]) for source in one.get("envFrom", ())]
            named += [
                ("Secret", variable["valueFrom"]["secretKeyRef"]["name"])
                for variable in one.get("env", ())
                if "valueFrom" in variable
            ]
            if not name.startswith("StatefulSet"):
                mounts = {mount["name"] for mount in one.get("volumeMounts", ())}
                yield from (f"{name}: there is no volume {mount}" for mount in mounts - set(volumes))
        yield from (f"{name}: there is no {kind} {one}" for kind, one in named if (kind, one) not in there)
    for one in of_kind(manifests, "RoleBinding"):
        if (one["roleRef"]["kind"], one["roleRef"]["name"]) not in there:
            yield f"{title(one)}: there is no {one['roleRef']['name']}"


def selectors(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of selectors that choose nothing, or Pods of others."""
    templates = dict(pods(manifests))
    labels = {name: pod["metadata"]["labels"] for name, pod in templates.items()}
    for one in of_kind(manifests, "Deployment", "StatefulSet"):
        chosen = {name for name, own in labels.items() if matches(one["spec"]["selector"], own)}
        if chosen != {title(one)}:
            yield f"{title(one)} chooses {sorted(chosen)}"
    for one in of_kind(manifests, "Service"):
        selector = {"matchLabels": one["spec"]["selector"]}
        found = [pod for name, pod in templates.items() if matches(selector, labels[name])]
        ports = [{port["name"] for port in pod["spec"]["containers"][0].get("ports", ())} for pod in found]
        wanted = {port["targetPort"] for port in one["spec"]["ports"]}
        if not ports or not all(wanted <= each for each in ports):
            yield f"{title(one)} leads nowhere"
    for one in of_kind(manifests, "PodDisruptionBudget", "NetworkPolicy"):
        selector = one["spec"].get("selector", one["spec"].get("podSelector"))
        if not any(matches(selector, own) for own in labels.values()):
            yield f"{title(one)} chooses nothing"


# -- settings and secrets -----------------------------------------------------------------------------------


def example_secrets() -> list[Manifest]:
    """Give the Secrets that a person makes."""
    return list(yaml.safe_load_all((ROOT / "deploy/kubernetes/secrets.example.yaml").read_text("utf-8")))


def settings(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of variables that are no settings."""
    given = [key for one in of_kind(manifests, "ConfigMap") for key in one["data"] if key.isupper()]
    given += [variable["name"] for _, one in every_container(manifests) for variable in one.get("env", ())]
    for name in given:
        if name.startswith("HUBBUB_") and name not in known_variables():
            yield f"there is no setting {name}"


def secrets(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of secrets that stand in manifests."""
    yield from (f"{title(one)} is no part of the manifests" for one in of_kind(manifests, "Secret"))
    for one in of_kind(manifests, "ConfigMap"):
        for key in one["data"]:
            if kind_of(path_of(key), Settings):
                yield f"{title(one)} holds the secret {key}"
        for path, value in leaves(tomllib.loads(one["data"].get("settings.toml", ""))):
            if value and kind_of(path, Settings):
                yield f"{title(one)} holds the secret {'.'.join(path)}"
    for name, container in every_container(manifests):
        for variable in container.get("env", ()):
            if "value" in variable:
                yield f"{name}: {variable['name']} has a value; settings belong into the ConfigMap"


def access(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of rights beyond those of people who watch and deploy."""
    for one in of_kind(manifests, "Role"):
        for rule in one["rules"]:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            if "*" in words or words & {"escalate", "bind", "impersonate"}:
                yield f"{title(one)} allows too much"
            if {"secrets", "pods/exec", "pods/attach", "serviceaccounts/token"} & words:
                yield f"{title(one)} leads to the secrets"
            changes = set(rule["verbs"]) - {"get", "list", "watch"}
            guarded = {"roles", "rolebindings", "serviceaccounts", "networkpolicies", "namespaces"}
            if changes and guarded & words:
                yield f"{title(one)} changes what gives access"
    for one in of_kind(manifests, "RoleBinding"):
        if {subject["kind"] for subject in one["subjects"]} != {"Group"}:
            yield f"{title(one)} is not for people"
    yield from (f"{title(one)} reaches beyond the namespace" for one in of_kind(manifests, "ClusterRole"))


# -- scale --------------------------------------------------------------------------------------------------

SCALED_OBJECT = {
    "": {"scaleTargetRef", "pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "idleReplicaCount"}
    | {"minReplicaCount", "maxReplicaCount", "fallback", "advanced", "triggers"},
    "scaleTargetRef": {"apiVersion", "kind", "name", "envSourceContainerName"},
    "fallback": {"failureThreshold", "replicas", "behavior"},
    "advanced": {"restoreToOriginalReplicaCount", "horizontalPodAutoscalerConfig", "scalingModifiers"},
    "advanced.horizontalPodAutoscalerConfig": {"name", "behavior"},
}
"""Fields by their place. Source: KEDA's documentation, "ScaledObject specification"."""
TRIGGER = {"type", "name", "metadata", "metricType", "authenticationRef", "useCachedMetrics"}
PROMETHEUS = {"serverAddress", "query", "threshold", "activationThreshold", "namespace", "customHeaders"} | {
    *("ignoreNullValues", "queryParameters", "unsafeSsl", "timeout", "authModes"),
}
"""Source: KEDA's documentation, "Scalers", "Prometheus"."""


def scaling(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of ScaledObjects that KEDA would not take, or that look at what nobody tells."""
    deployments = {one["metadata"]["name"]: one for one in of_kind(manifests, "Deployment")}
    for one in of_kind(manifests, "ScaledObject"):
        for place, known in SCALED_OBJECT.items():
            found: Any = one["spec"]
            for part in filter(None, place.split(".")):
                found = found.get(part, {})
            yield from (f"{title(one)}: there is no field {name}" for name in sorted(set(found) - known))
        behavior = one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        yield from (f"{title(one)}: behavior: {said}" for said in _invalid_behavior(json.dumps(behavior)))
        target = deployments.get(one["spec"]["scaleTargetRef"]["name"])
        if target is None:
            yield f"{title(one)}: there is no such Deployment"
        elif "replicas" in target["spec"]:
            yield f"{title(target)}: replicas are said by KEDA, too"
        for trigger in one["spec"]["triggers"]:
            unknown = sorted((set(trigger) - TRIGGER) | (set(trigger["metadata"]) - PROMETHEUS))
            yield from (f"{title(one)}: there is no field {name}" for name in unknown)
            if not all(isinstance(value, str) for value in trigger["metadata"].values()):
                yield f"{title(one)}: metadata are texts"
            yield from (f"{title(one)}: {said}" for said in wrong_query(trigger["metadata"]["query"]))


def _invalid_behavior(text: str) -> tuple[str, ...]:
    """Hand KEDA's `behavior` to the schema that it goes to."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "any"}
    spec = {"scaleTargetRef": target, "maxReplicas": 1, "behavior": json.loads(text)}
    autoscaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    return _invalid(json.dumps({**autoscaler, "metadata": {"name": "any"}, "spec": spec}), SCHEMAS[-1])


def wrong_query(query: str) -> Iterator[str]:
    """Complain of metrics and labels that nobody tells."""
    found, groups = uses(query)
    labels = set(LABELS_OF_SCRAPING)
    for use in found:
        metric = metric_of(use.metric, told())
        if metric is None:
            yield f"there is no metric {use.metric}"
            continue
        labels |= metric.labels
        yield from (
            f"{use.metric} has no label {name}" for name in use.labels - metric.labels - LABELS_OF_SCRAPING
        )
    yield from (f"nothing has the label {name}" for name in groups - labels)


def data_on_one_node(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Complain of Pods that may land where their volume is not, and of several hubs on one file of SQLite."""
    claims = {one["metadata"]["name"]: one for one in of_kind(manifests, "PersistentVolumeClaim")}
    if "ReadWriteMany" in claims["data"]["spec"]["accessModes"]:
        variables = [key for one in of_kind(manifests, "ConfigMap") for key in one["data"].items()]
        if ("HUBBUB_KNOWLEDGE__INDEX", "redis") not in variables:
            yield "vectors in files are not for many nodes"
        return
    for name, pod in pods(manifests):
        mounted = [
            one.get("persistentVolumeClaim", {}).get("claimName") for one in pod["spec"].get("volumes", ())
        ]
        terms = pod["spec"].get("affinity", {}).get("podAffinity", {})
        wanted = terms.get("requiredDuringSchedulingIgnoredDuringExecution", [{"labelSelector": {}}])
        labels = pod["metadata"]["labels"]
        is_beside = terms and all(
            one["topologyKey"] == "kubernetes.io/hostname" and matches(one["labelSelector"], labels)
            for one in wanted
        )
        if "data" in mounted and not (is_beside and labels.get("shares-data") == "true"):
            yield f"{name} may land on a node without its volume"
    hubs = [
        one["spec"].get("replicas", 1)
        for one in of_kind(manifests, "Deployment")
        if one["metadata"]["labels"]["app.kubernetes.io/component"] == "hub"
    ]
    if sum(hubs) != 1:
        yield f"{sum(hubs)} hubs on SQLite"
