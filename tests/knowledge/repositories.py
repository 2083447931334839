"""Git repositories for tests, and a server for them."""

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{
        f"GIT_{who}_{what}": "test@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def git(folder: Path, *words: str, data: bytes = b"") -> str:
    """Run git in a folder; give what it says."""
    done = subprocess.run(
        ["git", *words], cwd=folder, env=ENVIRONMENT, input=data, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def repository(folder: Path, files: Mapping[str, str]) -> Path:
    """Make a repository with one commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, files)
    return folder


def commit(folder: Path, files: Mapping[str, str]) -> None:
    """Write files and commit everything as it lies in the folder."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Change")


def commit_tree(folder: Path, listing: bytes) -> None:
    """Commit a tree as it would never come to be by adding files.

    Args:
        listing: as `git mktree` reads it, entries ended by zeros.
    """
    tree = git(folder, "mktree", "-z", "--missing", data=listing)
    number = git(folder, "commit-tree", "-m", "Odd", tree)
    git(folder, "update-ref", "HEAD", number)


def blob(folder: Path, data: bytes) -> str:
    """Store a file's bytes; give their id."""
    return git(folder, "hash-object", "-w", "--stdin", data=data)


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """Serve the repositories of a folder by HTTP on loopback, as `git http-backend` does; give the port."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            path, _, query = self.path.partition("?")
            environment = {
                **ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "REMOTE_ADDR": "127.0.0.1",
            }
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = subprocess.run(
                ["git", "http-backend"], env=environment, input=data, capture_output=True, check=False
            ).stdout
            head, _, body = said.partition(b"\r\n\r\n")
            headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
            status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()
