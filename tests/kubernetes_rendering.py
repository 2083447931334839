"""Manifests for Kubernetes, put together by `kubectl kustomize`."""

import copy
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes_selection import Manifest, title
from tests.settings_tree import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"


def kustomize(folder: Path) -> list[Manifest]:
    """Put the manifests of a folder together."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kubectl = shutil.which("kubectl", path=programs)
    assert kubectl, "kubectl is missing; it comes with the development install"
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # What is out of date is told there.
    assert done.stderr == ""
    return list(yaml.safe_load_all(done.stdout))


@functools.cache
def _rendered(overlay: str) -> list[Manifest]:
    return kustomize(FOLDER / overlay)


def rendered(overlay: str) -> list[Manifest]:
    """Give the manifests of an overlay, to keep or to change."""
    return copy.deepcopy(_rendered(overlay))


def named(manifests: list[Manifest], name: str) -> Manifest:
    """Find one by its kind and name; names of ConfigMaps have a digest at their end."""
    (found,) = [one for one in manifests if re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", title(one))]
    return found


def set_in(name: str, *path: Any, value: Any) -> Callable[[list[Manifest]], None]:
    """Change a value of a manifest."""

    def change(manifests: list[Manifest]) -> None:
        inner = named(manifests, name)
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return change
