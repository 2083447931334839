"""Git repositories: what of them is read, what they cannot do, and what happens to hostile ones."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from hub.errors import DocumentUnreadable
from hub.settings import KnowledgeSettings
from knowledge.sources.base import SourceUnreadable
from knowledge.sources.git import GitSource, chosen
from knowledge.sources.git_program import GitLimits
from tests.knowledge.repositories import blob, commit, commit_tree, git, repository, served

LOOPBACK = KnowledgeSettings(web_networks=("127.0.0.0/8",)).web_networks
FILES = {
    "README": "Hello readers.",
    "docs/guide.md": "# Guide\n\nTurn the wheel.",
    "src/wheel.py": "def turn() -> None: ...",
    "src/data.json": "{}",
    "uv.lock": "x",
    "package-lock.json": "{}",
    "page.min.js": "x",
    ".env": "SECRET=1",
    "prod.env": "SECRET=1",
    ".github/note.md": "hidden",
    "node_modules/other/readme.md": "foreign",
    "logo.png": "x",
}


def source(
    repository: Path | str, tmp_path: Path, *, max_bytes: int = 50_000_000, **options: Any
) -> GitSource:
    """Make a source."""
    limits = GitLimits(max_bytes=max_bytes, timeout_s=60)
    return GitSource(str(repository), tmp_path / "work", limits, max_document_bytes=1_000_000, **options)


def read(one: GitSource) -> dict[str, bytes]:
    """Read everything."""
    with one.open() as listing:
        found = {}
        for item in listing.items:
            content = item.read("")
            assert content is not None
            found[item.location] = content.data
        return found


def test_documents_and_code_of_the_newest_commit_are_read(tmp_path: Path) -> None:
    """Not what is hidden, built, foreign, data or a secret, nor what is not committed."""
    folder = repository(tmp_path / "project", FILES)
    (folder / "draft.md").write_text("Not committed.")

    found = read(source(folder, tmp_path))

    assert found == {name: FILES[name].encode() for name in ("README", "docs/guide.md", "src/wheel.py")}
    assert list((tmp_path / "work").glob("repository-*")) == []


def test_a_file_with_the_same_id_is_not_read_again(tmp_path: Path) -> None:
    """What git calls a file's version is known before it is read."""
    folder = repository(tmp_path / "project", {"a.md": "One.", "b.md": "Two."})
    with source(folder, tmp_path).open() as listing:
        contents = {item.location: item.read("") for item in listing.items}
    commit(folder, {"b.md": "Changed."})

    with source(folder, tmp_path).open() as listing:
        again = {
            item.location: item.read(content.source_version)
            for item in listing.items
            if (content := contents[item.location])
        }

    assert again["a.md"] is None
    assert (changed := again["b.md"]) is not None
    assert changed.data == b"Changed."


def test_a_bare_repository_is_read(tmp_path: Path) -> None:
    """It need not have a working tree, and its path may hold any character."""
    folder = repository(tmp_path / "project", {"a.md": "One."})
    bare = tmp_path / "with ?#% ü.git"
    git(tmp_path, "clone", "-q", "--bare", str(folder), str(bare))

    assert read(source(bare, tmp_path)) == {"a.md": b"One."}


def test_nothing_of_a_repository_is_run(tmp_path: Path) -> None:
    """Hooks, filters, file system monitors and what submodules name do not happen."""
    trap = tmp_path / "sprung"
    module = f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch {trap}"\n'
    files = {"a.md": "One.", ".gitattributes": "*.md filter=trap diff=trap\n", ".gitmodules": module}
    folder = repository(tmp_path / "project", files)
    head = git(folder, "rev-parse", "HEAD")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{head},x")
    git(folder, "commit", "-q", "-m", "Submodule")
    for hook in ("post-checkout", "post-merge", "pre-auto-gc", "reference-transaction", "post-index-change"):
        file = folder / ".git" / "hooks" / hook
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\ntouch {trap}\n")
        file.chmod(0o755)
    for name in (
        "filter.trap.smudge",
        "filter.trap.process",
        "core.fsmonitor",
        "core.sshCommand",
        "uploadpack.packObjectsHook",
        "diff.trap.textconv",
        "core.pager",
    ):
        git(folder, "config", name, f"touch {trap}")

    assert read(source(folder, tmp_path)) == {"a.md": b"One."}
    assert not trap.exists()


def test_links_and_names_lead_nowhere(tmp_path: Path) -> None:
    """A symbolic link is not followed, and a file's name is only shown."""
    folder = repository(tmp_path / "project", {"a.md": "One."})
    secret = tmp_path / "secret.md"
    secret.write_text("Secret.")
    (folder / "link.md").symlink_to(secret)
    commit(folder, {})

    assert read(source(folder, tmp_path)) == {"a.md": b"One."}


@pytest.mark.parametrize("name", ["..", ".", ".git", "-x", "con"])
def test_names_that_climb_are_harmless(tmp_path: Path, name: str) -> None:
    """Such a tree is refused, or what stands in it is passed over; nothing is written where a name points."""
    folder = repository(tmp_path / "project", {"a.md": "One."})
    number = blob(folder, b"Evil.")
    inner = git(folder, "mktree", "-z", data=f"100644 blob {number}\tevil.md\0".encode())
    commit_tree(folder, f"040000 tree {inner}\t{name}\x00100644 blob {number}\tz.md\0".encode())

    with contextlib.suppress(SourceUnreadable):
        found = read(source(folder, tmp_path))
        assert {place for place in found if ".." in place or place.startswith(".")} == set()
        assert found["z.md"] == b"Evil."

    assert not list(tmp_path.rglob("evil.md"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project", "work"]


def test_a_name_that_is_not_text_is_shown_with_replacements(tmp_path: Path) -> None:
    """It is read by its id."""
    listing = b"100644 blob " + b"a" * 40 + b"       5\tb\xff\n\t.md\0"

    (found,) = chosen(listing, 100)

    assert (found.path, found.id, found.size_bytes) == ("b\ufffd\n\t.md", "a" * 40, 5)


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"x",
        b"120000 blob " + b"a" * 40 + b" 5\tlink.md",
        b"160000 commit " + b"a" * 40 + b" -\tsub.md",
        b"100644 blob " + b"a" * 40 + b" 5000\tlarge.md",
        b"100644 blob zz 5\ta.md",
        b"100644 blob " + b"a" * 40 + b" 0\tempty.md",
    ],
)
def test_other_entries_are_passed_over(entry: bytes) -> None:
    """Links, submodules, what is too large, and what is no entry."""
    assert chosen(entry + b"\0", 1000) == []


def test_a_bomb_of_trees_ends(tmp_path: Path) -> None:
    """Few objects that stand for more files than anybody could list."""
    folder = repository(tmp_path / "project", {"a.md": "One."})
    tree = git(folder, "mktree", "-z", data=f"100644 blob {blob(folder, b'x')}\tx.md\0".encode())
    for _ in range(9):
        listing = "".join(f"040000 tree {tree}\td{number}\0" for number in range(10))
        tree = git(folder, "mktree", "-z", data=listing.encode())
    git(folder, "update-ref", "HEAD", git(folder, "commit-tree", "-m", "Bomb", tree))

    with pytest.raises(SourceUnreadable, match="too long"):
        read(source(folder, tmp_path))


def test_a_repository_that_is_too_large_is_given_up(tmp_path: Path) -> None:
    """What it has taken on disk is freed."""
    folder = repository(tmp_path / "project", {"a.md": "One."})
    (folder / "noise.bin").write_bytes(os.urandom(3_000_000))
    commit(folder, {})

    with pytest.raises(SourceUnreadable):
        read(source(folder, tmp_path, max_bytes=1_000_000))

    assert list((tmp_path / "work").glob("repository-*")) == []


@pytest.mark.parametrize(
    "address",
    [
        "ext::sh -c touch% sprung",
        "ssh://git@example.org/x",
        "git@example.org:x",
        "file:///etc",
        "-oProxyCommand=x",
        "--upload-pack=touch sprung",
        "git://example.org/x",
    ],
)
def test_only_folders_and_http_are_read(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else git understands is not passed to it."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DocumentUnreadable, match="no folder"):
        source(address, tmp_path)


def test_a_folder_that_is_no_repository_is_told(tmp_path: Path) -> None:
    """With git's own reason."""
    (tmp_path / "plain").mkdir()

    with pytest.raises(SourceUnreadable, match="cannot be cloned: fatal:"):
        read(source(tmp_path / "plain", tmp_path))


def test_an_empty_repository_is_told(tmp_path: Path) -> None:
    """There is no commit to read."""
    folder = tmp_path / "empty"
    folder.mkdir()
    git(folder, "init", "-q")

    with pytest.raises(SourceUnreadable, match="cannot be"):
        read(source(folder, tmp_path))


def test_a_repository_is_fetched_from_the_address_that_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host is looked up once, and git itself looks nothing up: this name exists in the test alone."""
    repository(tmp_path / "served" / "project", {"a.md": "One."})
    asked = _only_here(monkeypatch, "127.0.0.1")
    with served(tmp_path / "served") as port:
        address = f"http://repository.invalid:{port}/project"

        found = read(source(address, tmp_path, allowed=LOOPBACK))

    assert found == {"a.md": b"One."}
    assert asked == ["repository.invalid"]


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "fd00::1"])
def test_a_repository_within_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str
) -> None:
    """Neither by its address nor by a name that leads to it."""
    _only_here(monkeypatch, inner)
    literal = f"[{inner}]" if ":" in inner else inner

    for host in (literal, "repository.invalid"):
        with pytest.raises(SourceUnreadable, match="not on the public internet"):
            read(source(f"http://{host}:1/project", tmp_path))


def test_redirects_are_not_followed(tmp_path: Path) -> None:
    """They could lead to an address that was not looked at."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # noqa: PLC0415
    from threading import Thread  # noqa: PLC0415

    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/inner")  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with pytest.raises(SourceUnreadable, match="cannot be cloned"):
            read(source(f"http://127.0.0.1:{server.server_port}/x", tmp_path, allowed=LOOPBACK))
        server.shutdown()
        thread.join()

    assert not any("inner" in path for path in seen)


def _only_here(monkeypatch: pytest.MonkeyPatch, address: str) -> list[str]:
    """Let every name mean one address; give the names that were asked for."""
    asked: list[str] = []
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked
