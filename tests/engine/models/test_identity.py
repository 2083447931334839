"""What tells two models of one name apart."""

import os
from pathlib import Path

from pydantic import SecretStr

from engine.models.identity import identity_of
from hub.model_settings import AdapterSettings, GgufSettings, OnnxSettings, RemoteSettings


def test_another_file_is_another_model(tmp_path: Path) -> None:
    """Also one of the same size, put there with the old one's time."""
    file = tmp_path / "model.gguf"
    settings = GgufSettings(path=str(file))
    file.write_bytes(b"a" * 300_000)
    os.utime(file, ns=(1, 1))
    first = identity_of("m", settings)
    again = identity_of("m", settings)
    (tmp_path / "new").write_bytes(b"a" * 150_000 + b"b" + b"a" * 149_999)
    os.utime(tmp_path / "new", ns=(1, 1))
    (tmp_path / "new").replace(file)

    assert first == again
    assert identity_of("m", settings) != first


def test_name_settings_and_adapters_count(tmp_path: Path) -> None:
    """The same weights under another name, with another window or another adapter answer differently."""
    adapter = tmp_path / "adapter.gguf"
    adapter.write_bytes(b"1")
    plain = GgufSettings()
    adapted = GgufSettings(adapters=(AdapterSettings(path=str(adapter)),))
    found = [
        identity_of("m", plain),
        identity_of("n", plain),
        identity_of("m", GgufSettings(context_length=1024)),
        identity_of("m", adapted),
    ]
    adapter.write_bytes(b"22")
    found.append(identity_of("m", adapted))

    assert len(set(found)) == 5


def test_folders_and_servers_have_one_too(tmp_path: Path) -> None:
    """Every file of a folder counts; of a server what is set, and never its key."""
    (tmp_path / "a.onnx").write_bytes(b"1")
    folder = OnnxSettings(type="onnx", path=str(tmp_path))
    before = identity_of("m", folder)
    (tmp_path / "b.json").write_bytes(b"1")
    servers = [
        RemoteSettings(type="remote", base_urls=("http://h/v1",), model=model, api_key=SecretStr(key))
        for model, key in (("x", "1"), ("x", "2"), ("y", "1"))
    ]

    assert identity_of("m", folder) != before
    first, same, other = (identity_of("m", server) for server in servers)
    assert first == same != other


def test_a_missing_file_is_no_error(tmp_path: Path) -> None:
    """Whoever loads it says so."""
    assert identity_of("m", GgufSettings(path=str(tmp_path / "none.gguf")))
