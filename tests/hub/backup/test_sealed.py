"""The file of a backup: any tar reads it, and whatever happened to it afterwards is found."""

import gzip
import hashlib
import io
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.backup import sealed
from hub.backup.sealed import BackupRefused, SealedReader, SealedWriter, check_seal, is_safe


def _written(path: Path, *parts: tuple[str, bytes]) -> Path:
    with path.open("wb") as file:
        writer = SealedWriter(file)
        for name, content in parts:
            writer.add_bytes(name, content)
        writer.close()
    return path


def _read(path: Path) -> dict[str, bytes]:
    return {name: content.read() for name, _, content in SealedReader(path).parts()}


def _crafted(path: Path, fill: Callable[[tarfile.TarFile], None]) -> Path:
    """Write a sealed file whose parts a hub would never write."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as out, tarfile.open(fileobj=out, mode="w:") as tar:
        fill(tar)
    digest = hashlib.sha256(packed.getvalue()).hexdigest().encode()
    path.write_bytes(packed.getvalue() + sealed._HEAD + digest + sealed._TAIL)
    return path


def test_parts_come_back_as_they_were_and_tar_reads_them_too(tmp_path: Path) -> None:
    """Names of any language, empty parts, large ones; `tar tzf` and `gzip -t` know nothing of a seal."""
    large = random.Random(1).randbytes(3 << 20)
    parts = [("a.json", b"{}"), ("files/Überblick/ä" + "x" * 150, b""), ("large", large)]

    path = _written(tmp_path / "b.tar.gz", *parts)

    assert _read(path) == dict(parts)
    assert subprocess.run(["gzip", "-t", path], check=True, capture_output=True).stderr == b""
    listed = subprocess.run(["tar", "tzf", path], check=True, capture_output=True)
    assert listed.stdout.splitlines()[0] == b"a.json"
    assert _written(tmp_path / "again", *parts).read_bytes() == path.read_bytes()


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    """Also in gzip's header, in its last bits, and in the seal itself, which gzip's own checksum leaves out."""
    whole = _written(tmp_path / "b", ("a", b"some text"), ("b", b"more of it" * 20)).read_bytes()
    path, dice = tmp_path / "flipped", random.Random(7)

    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << dice.randrange(8))]) + whole[at + 1 :])
        with pytest.raises(BackupRefused):
            check_seal(path)


def test_a_file_that_was_cut_off_or_goes_on_is_found(tmp_path: Path) -> None:
    """At any length: a full disk, a lost connection, two files that were put together."""
    whole = _written(tmp_path / "b", ("a", b"some text")).read_bytes()
    path = tmp_path / "cut"

    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BackupRefused, match=r"cut off|damaged"):
            check_seal(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(BackupRefused):
        check_seal(path)
    path.write_bytes(whole + whole)
    with pytest.raises(BackupRefused, match="damaged"):
        check_seal(path)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "a/.", "", "a\\b", "a\0b", "..", "x" * 5000],
)
def test_a_name_that_leads_out_is_refused(name: str) -> None:
    """On no system may a part end up elsewhere than where it is put."""
    assert not is_safe(name)
    assert is_safe("files/models.json")


def _member(name: str, kind: bytes, link: str = "") -> Callable[[tarfile.TarFile], None]:
    def fill(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        tar.addfile(info)

    return fill


def _twice(tar: tarfile.TarFile) -> None:
    for _ in range(2):
        tar.addfile(tarfile.TarInfo("a"))


def _long_header(tar: tarfile.TarFile) -> None:
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "x" * (8 << 20)}
    tar.addfile(info)


def _headers_without_end(tar: tarfile.TarFile) -> None:
    for _ in range(3000):
        tar.addfile(_of_kind(tarfile.XHDTYPE))


def _of_kind(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("a")
    info.type = kind
    return info


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (_member("../../x", tarfile.REGTYPE), "which no hub writes"),
        (_member("/x", tarfile.REGTYPE), "which no hub writes"),
        (_member("a", tarfile.SYMTYPE, "/etc/passwd"), "no plain file"),
        (_member("a", tarfile.LNKTYPE, "/etc/passwd"), "no plain file"),
        (_member("a", tarfile.DIRTYPE), "no plain file"),
        (_member("a", tarfile.FIFOTYPE), "no plain file"),
        (_member("a", tarfile.CHRTYPE), "no plain file"),
        (_twice, "twice"),
        (_long_header, "header"),
        (_headers_without_end, "cannot be read"),
    ],
)
def test_what_no_hub_writes_is_refused_whatever_its_seal_says(
    tmp_path: Path, fill: Callable[[tarfile.TarFile], None], words: str
) -> None:
    """A seal proves that nothing has changed, not who made it."""
    path = _crafted(tmp_path / "b", fill)

    with pytest.raises(BackupRefused, match=words):
        _read(path)


def test_a_sealed_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    """Whatever stands before the seal."""
    junk = b"not gzip at all"
    path = tmp_path / "b"
    path.write_bytes(junk + sealed._HEAD + hashlib.sha256(junk).hexdigest().encode() + sealed._TAIL)

    with pytest.raises(BackupRefused, match="cannot be read"):
        _read(path)
