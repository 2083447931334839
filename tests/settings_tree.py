"""The tree of settings, walked; and an environment in which it has its defaults."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent


def bare_environment(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith(("HUBBUB_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)


def leaves(value: BaseModel | dict[str, Any], *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every setting that is no table, with its path."""
    items = (
        value.items() if isinstance(value, dict) else ((name, getattr(value, name)) for name in fields(value))
    )
    for name, inner in items:
        if isinstance(inner, BaseModel | dict):
            yield from leaves(inner, *path, name)
        else:
            yield (*path, name), inner


def fields(model: BaseModel) -> list[str]:
    """Give the names of a model's fields."""
    return list(type(model).model_fields)


def environment_name(*path: str) -> str:
    """Give the environment variable of a setting."""
    return "HUBBUB_" + "__".join(path).upper()
