"""The rules for manifests of Kubernetes complain: each of a copy in which one thing is wrong."""

import re

import pytest

from tests.kubernetes_rendering import rendered, set_in
from tests.kubernetes_rules import complaints

POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
BROKEN = {
    "Deployment hub: .*Additional properties": set_in("Deployment hub", "spec", "replica", value=1),
    "api version apps/v2": set_in("Deployment hub", "apiVersion", value="apps/v2"),
    "Service hub is not in the namespace": set_in("Service hub", "metadata", "namespace", value="default"),
    "Deployment hub: runAsUser": set_in("Deployment hub", *POD, "securityContext", "runAsUser", value=0),
    "Deployment hub: automount": set_in("Deployment hub", *POD, "automountServiceAccountToken", value=True),
    "StatefulSet redis: hostNetwork": set_in("StatefulSet redis", *POD, "hostNetwork", value=True),
    "engine/hubbub: capabilities": set_in(
        "Deployment engine", *CONTAINER, "securityContext", "capabilities", "drop", value=["NET_RAW"]
    ),
    "engine/folders: readOnly": set_in(
        "Deployment engine", *POD, "initContainers", 0, "securityContext", value={"privileged": True}
    ),
    "hub/hubbub: limits": set_in("Deployment hub", *CONTAINER, "resources", "limits", value={"cpu": "1"}),
    "there is no image hubbub:latest": set_in("Deployment hub", *CONTAINER, "image", value="hubbub:latest"),
    "there is no route /healthz": set_in(
        "Deployment hub", *CONTAINER, "readinessProbe", "httpGet", "path", value="/healthz"
    ),
    "livenessProbe: /health fails without Redis": set_in(
        "Deployment hub", *CONTAINER, "livenessProbe", value={"httpGet": {"path": "/health", "port": "http"}}
    ),
    "Deployment engine: no startupProbe": set_in("Deployment engine", *CONTAINER, "startupProbe", value=None),
    "there is no role engines": set_in(
        "Deployment engine", *CONTAINER, "command", value=["hubbub", "run", "engines"]
    ),
    "there is no command save": set_in(
        *("CronJob backup", "spec", "jobTemplate", *POD, "containers", 0, "command"),
        value=["sh", "-c", "hubbub save /backups"],
    ),
    "the port is 8080": set_in("Deployment hub", *CONTAINER, "ports", 0, "containerPort", value=80),
    "there is no ConfigMap environment": set_in(
        "Deployment hub", *CONTAINER, "envFrom", 0, "configMapRef", "name", value="environment"
    ),
    "there is no Secret tokens": set_in(
        "Deployment hub", *POD, "volumes", 1, value={"name": "secrets", "secret": {"secretName": "tokens"}}
    ),
    "there is no volume models": set_in("Deployment hub", *POD, "volumes", value=[]),
    "Deployment engine chooses .*engine-canary": set_in(
        "Deployment engine-canary", *POD[:2], "metadata", "labels", "track", value="stable"
    ),
    "Service hub leads nowhere": set_in("Service hub", "spec", "ports", 0, "targetPort", value="https"),
    "PodDisruptionBudget engine chooses nothing": set_in(
        "PodDisruptionBudget engine", "spec", "selector", "matchLabels", value={"app": "engine"}
    ),
    "there is no setting HUBBUB_ALIFE_FILE": set_in(
        "ConfigMap environment", "data", "HUBBUB_ALIFE_FILE", value="/tmp/alive"
    ),
    "holds the secret HUBBUB_TELEGRAM__TOKEN": set_in(
        "ConfigMap environment", "data", "HUBBUB_TELEGRAM__TOKEN", value="123:A"
    ),
    "holds the secret telegram.token": set_in(
        "ConfigMap settings", "data", "settings.toml", value='telegram.token = "123:A"'
    ),
    "REDISCLI_AUTH has a value": set_in(
        "StatefulSet redis", *CONTAINER, "env", 0, value={"name": "REDISCLI_AUTH", "value": "a"}
    ),
    "Secret hub is no part": set_in("Service hub", "kind", value="Secret"),
    "Role viewer leads to the secrets": set_in("Role viewer", "rules", 1, "resources", value=["pods/exec"]),
    "Role deployer allows too much": set_in("Role deployer", "rules", 0, "verbs", value=["*"]),
    "Role deployer changes what gives access": set_in(
        "Role deployer", "rules", 0, "resources", value=["serviceaccounts"]
    ),
    "RoleBinding viewers is not for people": set_in(
        "RoleBinding viewers", "subjects", 0, "kind", value="ServiceAccount"
    ),
    "vectors in files": set_in("ConfigMap environment", "data", "HUBBUB_KNOWLEDGE__INDEX", value="faiss"),
    "3 hubs on SQLite": set_in("PersistentVolumeClaim data", "spec", "accessModes", value=["ReadWriteOnce"]),
    "CronJob backup may land on a node": set_in(
        "PersistentVolumeClaim data", "spec", "accessModes", value=["ReadWriteOnce"]
    ),
}


@pytest.mark.parametrize("complaint", BROKEN)
def test_what_is_broken_is_found(complaint: str) -> None:
    """Each rule complains of a copy in which one thing is wrong."""
    manifests = rendered("overlays/canary")

    BROKEN[complaint](manifests)

    assert re.search(complaint, "\n".join(complaints(manifests))), complaints(manifests)


BROKEN_SCALING = {
    "there is no metric hubbub_queue_length": set_in(
        "ScaledObject engine", "spec", "triggers", 0, "metadata", "query", value="max(hubbub_queue_length)"
    ),
    "hubbub_queue_backlog has no label stream": set_in(
        *("ScaledObject engine", "spec", "triggers", 0, "metadata", "query"),
        value='max(hubbub_queue_backlog{stream="inbound"})',
    ),
    "there is no field maxReplicas": set_in("ScaledObject engine", "spec", "maxReplicas", value=3),
    "there is no field limit": set_in(
        "ScaledObject engine", "spec", "triggers", 0, "metadata", "limit", value="8"
    ),
    "metadata are texts": set_in(
        "ScaledObject engine", "spec", "triggers", 0, "metadata", "threshold", value=8
    ),
    "behavior: .*Additional properties": set_in(
        *("ScaledObject engine", "spec", "advanced", "horizontalPodAutoscalerConfig"),
        value={"behavior": {"scaleSideways": {}}},
    ),
    "there is no such Deployment": set_in(
        "ScaledObject engine", "spec", "scaleTargetRef", "name", value="engines"
    ),
    "replicas are said by KEDA": set_in("Deployment engine", "spec", "replicas", value=2),
}


@pytest.mark.parametrize("complaint", BROKEN_SCALING)
def test_broken_scaling_is_found(complaint: str) -> None:
    """The same for what KEDA reads."""
    manifests = rendered("overlays/autoscaling")

    BROKEN_SCALING[complaint](manifests)

    assert re.search(complaint, "\n".join(complaints(manifests)))
