"""Bodies in chunks: what HTTP lets everybody pass over is passed over, and what two readers could take for two things is 400."""

import asyncio
import re
import ssl
from pathlib import Path

import pytest

from tests.hub.api.serving import Api, exchange
from tests.servers.nginx import NginxServer

HEAD = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
BEHIND = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

READ = {
    "extension": b"2;ext=1\r\n{}\r\n0\r\n\r\n",
    "extension in quotes": b'2;ext="a;0"\r\n{}\r\n0\r\n\r\n',
    "extension of the last chunk": b"2\r\n{}\r\n0;ext\r\n\r\n",
    "long extension": b"2;" + b"x" * 50_000 + b"\r\n{}\r\n0\r\n\r\n",
    "trailer": b"2\r\n{}\r\n0\r\nX-API-Key: cc_live_x\r\n\r\n",
}
REFUSED = {
    "line feed in an extension": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "carriage return in an extension": b"2;a\rb\r\n{}\r\n0\r\n\r\n",
    "control in an extension": b"2;\x01\r\n{}\r\n0\r\n\r\n",
    "NUL in an extension": b"2;\x00\r\n{}\r\n0\r\n\r\n",
    "line feed behind a size": b"2\n{}\r\n0\r\n\r\n",
    "blank behind a size": b"2 \r\n{}\r\n0\r\n\r\n",
    "sign": b"+2\r\n{}\r\n0\r\n\r\n",
    "prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "size that no number holds": b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "length in a trailer": b"2\r\n{}\r\n0\r\nContent-Length: 900\r\n\r\n",
    "more than its size": b"2\r\n{}XX0\r\n\r\n",
}


async def test_what_stands_beside_the_size_of_a_chunk_means_nothing(bare_api: Api) -> None:
    """Extensions and trailers end where HTTP says that they end: the request behind is the next one, and none is hidden."""
    head = await _with_key(bare_api)
    for name, chunks in READ.items():
        answer = await exchange(bare_api.port, head + chunks + BEHIND)

        assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"422", b"200"], (name, answer)


async def test_chunks_that_could_be_read_in_two_ways_are_refused(bare_api: Api) -> None:
    """With 400 and the end of the connection: what stands behind is not taken for a request."""
    head = await _with_key(bare_api)
    for name, chunks in REFUSED.items():
        answer = await exchange(bare_api.port, head + chunks + BEHIND)

        assert re.findall(rb"HTTP/1\.[01] (\d+)", answer) == [b"400"], (name, answer)


async def _with_key(api: Api) -> bytes:
    return HEAD + b"X-API-Key: " + (await api.new_key())["X-API-Key"].encode() + b"\r\n\r\n"


@pytest.mark.timeout(60)
async def test_nginx_hands_on_no_extension(tmp_path: Path) -> None:
    """With the configuration that is shipped: the hub is told the size of the body, or whole chunks of nginx's own."""
    arrived: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        body = await (reader.readexactly(int(length[1])) if length else reader.readuntil(b"0\r\n\r\n"))
        arrived.append(head + body)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    hub = await asyncio.start_server(note, "127.0.0.1", 0)
    with NginxServer(tmp_path, hub.sockets[0].getsockname()[1]) as nginx:
        tls = ssl.create_default_context(cafile=str(nginx.certificate))
        for chunks in (READ["extension"], READ["extension of the last chunk"], READ["trailer"]):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", nginx.https_port, ssl=tls, server_hostname="localhost"
            )
            writer.write(HEAD.replace(b"Host: x", b"Host: localhost\r\nConnection: close") + b"\r\n" + chunks)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            writer.close()
    hub.close()

    assert len(arrived) == 3
    for request in arrived:
        assert b";ext" not in request
        assert b"cc_live_x" not in request
        assert request.endswith((b"\r\n\r\n{}", b"\r\n2\r\n{}\r\n0\r\n\r\n"))
