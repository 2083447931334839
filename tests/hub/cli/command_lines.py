"""Runs many command lines in one fresh process, each as `hubbub` would; prints exit code, output and errors as JSON.

In a process of its own, because a command sets up logs and rights of files for all of it; in one, because starting
Python costs more than most commands.
"""

import contextlib
import io
import json
import sys

from hub.cli import main


class Stdout(io.TextIOWrapper):
    """A standard output that is no terminal, and takes bytes as well."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        """Return what was written."""
        inner = self.buffer
        assert isinstance(inner, io.BytesIO)
        return inner.getvalue().decode()


def run(words: list[str]) -> dict[str, object]:
    """Run one command line."""
    out, err, code = Stdout(), io.StringIO(), 0
    sys.argv = ["hubbub", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return {"code": code, "out": out.text(), "err": err.getvalue()}


if __name__ == "__main__":
    lines: list[list[str]] = json.load(sys.stdin)
    results = [run(words) for words in lines]
    sys.stdout.write(json.dumps({"results": results, "modules": sorted(sys.modules)}))
