"""Documents that are refused: what cannot be read, what is too much, and requests that are odd."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from hub.app.documents import MAX_CHUNKS
from tests.hub.api.admin.operating import FERRY, Operator, document_rows, make, operating
from tests.servers.redis import RedisServer


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", b" " * 300_000_000)
        archive.writestr("word/document.xml", b" " * 300_000_000)
    return file.getvalue()


def _zip_with(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"<x/>")
    return file.getvalue()


REFUSED = [
    ("a.exe", b"MZ\x90\x00", 415, "unsupported"),
    ("a", b"text", 415, "unsupported"),
    ("a.svg", b"<svg/>", 415, "unsupported"),
    ("a.pdf", b"MZ\x90\x00program", 415, "unsupported"),
    ("a.md", b"\x7fELF\x02\x01", 415, "unsupported"),
    ("a.md", b"%PDF-1.7 a pdf called otherwise", 415, "unsupported"),
    ("a.txt", b"zero\x00byte", 415, "unsupported"),
    ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600, 422, "encrypted"),
    ("a.pdf", b"%PDF-1.7 broken", 422, "damaged"),
    ("a.docx", _zip_with("../../etc/passwd"), 422, "damaged"),
    ("a.docx", _zip_bomb(), 413, "too_large"),
    ("a.md", b"", 422, "empty"),
    ("a.md", b" \n\t \xe2\x80\x8b", 422, "empty"),
    ("a.html", b"<script>alert(1)</script>", 422, "empty"),
]


async def test_what_cannot_be_read_is_refused_with_the_reason(operator: Operator, data: Path) -> None:
    """By a stable code, and nothing of it is stored; the next document is read all the same."""
    await make(operator, "timetable")

    for name, body, status, code in REFUSED:
        got, answer = await operator.upload("timetable", name, body)
        assert (got, answer["code"]) == (status, code), (name, body[:20], answer)

    assert document_rows(data) == []
    assert (await operator.upload("timetable", "ferry.md", FERRY))[0] == 201


async def test_a_document_of_too_many_passages_is_refused(operator: Operator, data: Path) -> None:
    """The limit is told, and the engine was not asked."""
    await make(operator, "long")
    text = "".join(f"## Part {number}\n\nPassage {number}.\n\n" for number in range(MAX_CHUNKS + 1))

    status, answer = await operator.upload("long", "long.md", text.encode())

    assert (status, answer["code"]) == (413, "too_many_passages")
    assert str(MAX_CHUNKS) in answer["detail"]
    assert document_rows(data) == []


async def test_a_document_that_is_too_large_is_refused_before_it_is_sent(
    redis: Redis, redis_server: RedisServer, data: Path
) -> None:
    """By its length where that is told, and while it comes where it is not; other routes keep their limit."""
    async with operating(redis_server, data, knowledge={"max_document_bytes": 2_000_000}) as operator:
        await make(operator, "timetable")
        url = f"{operator.api.url}/api/v1/admin/collections/timetable/documents?name=a.txt"

        async def drip() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b"x" * 100_000

        told = await operator.upload("timetable", "a.txt", b"x" * 2_000_001)
        async with operator.api.session.put(url, data=drip(), headers=operator.headers) as response:
            untold = response.status
        larger_than_json = await operator.upload("timetable", "a.exe", b"x" * 1_900_000)
        other = await operator.call("PUT", "/collections/x", data=b"x" * 1_900_000)

    assert (told[0], told[1]["code"]) == (413, "too_large")
    assert untold == 413
    assert larger_than_json[0] == 415
    assert other[0] == 413


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("", {}, 422, "invalid_fields"),
        ("?name=", {}, 422, "invalid_fields"),
        ("?name=a.md&name=b.md", {}, 400, "repeated_parameter"),
        ("?name=a.md&collection=other", {}, 400, "unknown_parameter"),
        (f"?name={'a' * 201}", {}, 422, "invalid_fields"),
        ("?name=a%00.md", {}, 422, "invalid_fields"),
        ("?name=a%0a.md", {}, 422, "invalid_fields"),
        ("?name=a%E2%80%AEdm.md", {}, 422, "invalid_fields"),
        ("?name=%20a.md", {}, 422, "invalid_fields"),
        ("?name=a.md", {"Content-Encoding": "gzip"}, 415, "media_type"),
        ("?name=a.md", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "media_type"),
    ],
)
async def test_odd_uploads_are_refused(
    operator: Operator, query: str, headers: dict[str, str], status: int, code: str
) -> None:
    """Nothing is guessed."""
    await make(operator, "timetable")
    url = f"{operator.api.url}/api/v1/admin/collections/timetable/documents{query}"

    async with operator.api.session.put(url, data=FERRY, headers={**operator.headers, **headers}) as response:
        answer = await response.json()

    assert (response.status, answer["code"]) == (status, code)


async def test_a_name_is_never_a_path(operator: Operator, data: Path, tmp_path: Path) -> None:
    """It names the document, whatever stands in it; nothing is written or read by it."""
    await make(operator, "timetable")
    before = _files(tmp_path)

    for name in ("../../etc/passwd.md", "/etc/passwd.md", "a/b.md", "C:\\x.md", "🙂.md", "1 OR 1=1.md"):
        status, answer = await operator.upload("timetable", name, FERRY)
        assert (status, answer["document"]["location"]) == (201, name)

    assert _files(tmp_path) == before


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "hubbub.db" not in path.name}
