"""Which manifests for Kubernetes choose which Pods, and which Pods may connect to which."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

Manifest = dict[str, Any]


def of_kind(manifests: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    """Give those of some kinds."""
    return [one for one in manifests if one["kind"] in kinds]


def title(manifest: Manifest) -> str:
    """Name one."""
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def matches(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Tell whether a selector chooses labels."""
    if unknown := {one["operator"] for one in selector.get("matchExpressions", ())} - {"In"}:
        raise NotImplementedError(f"operators {unknown}")
    equal = selector.get("matchLabels", {}).items()
    one_of = selector.get("matchExpressions", ())
    return all(labels.get(key) == value for key, value in equal) and all(
        labels.get(one["key"]) in one["values"] for one in one_of
    )


def may_connect(
    manifests: Sequence[Manifest], source: Mapping[str, str], target: Mapping[str, str], port: int
) -> bool:
    """Tell whether the policies let one Pod of the namespace reach another, both by their labels."""

    def is_let(direction: str, peers: str, own: Mapping[str, str], other: Mapping[str, str]) -> bool:
        chosen = [
            one["spec"]
            for one in of_kind(manifests, "NetworkPolicy")
            if direction in one["spec"]["policyTypes"] and matches(one["spec"]["podSelector"], own)
        ]
        rules = itertools.chain.from_iterable(spec.get(direction.lower(), ()) for spec in chosen)
        return not chosen or any(
            port in {one["port"] for one in rule["ports"]}
            and any(
                "podSelector" in peer
                and "namespaceSelector" not in peer
                and matches(peer["podSelector"], other)
                for peer in rule.get(peers, ())
            )
            for rule in rules
        )

    return is_let("Egress", "to", source, target) and is_let("Ingress", "from", target, source)


def ways_out(manifests: Sequence[Manifest], labels: Mapping[str, str]) -> set[str]:
    """Name the policies that let a Pod connect to something."""
    return {
        one["metadata"]["name"]
        for one in of_kind(manifests, "NetworkPolicy")
        if one["spec"].get("egress") and matches(one["spec"]["podSelector"], labels)
    }
