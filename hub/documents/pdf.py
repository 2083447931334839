"""Reads PDF files in a process of their own, because a crafted one may crash or exhaust its reader."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hub.documents import pdf_worker
from hub.documents.markdown import Section
from hub.errors import DocumentUnreadable, FileProblem

WORKER = Path(__file__).with_name("pdf_worker.py")
TIMEOUT_S = 120


def read_pdf(data: bytes, *, is_isolated: bool) -> tuple[str, list[Section]]:
    """Give the title and one section for each page.

    Args:
        is_isolated: whether this very process may crash over it.

    Raises: DocumentUnreadable: it cannot be read, or not within the worker's limits.
    """
    try:
        answer = pdf_worker.read(data) if is_isolated else _ask_worker(data)
    except pdf_worker.UnreadablePdf as error:
        raise _unreadable(str(error)) from error
    pages = enumerate(answer["pages"], start=1)
    return answer["title"], [Section(heading=f"page {number}", text=text) for number, text in pages]


def _ask_worker(data: bytes) -> dict[str, Any]:
    command = [sys.executable, "-I", str(WORKER)]
    try:
        # The worker sees an empty environment: it needs none and shall know no secrets.
        done = subprocess.run(  # noqa: S603
            command, input=data, capture_output=True, timeout=TIMEOUT_S, env={}, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DocumentUnreadable(f"took longer than {TIMEOUT_S} s to read") from error
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise _unreadable(last or f"the reader ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _unreadable(reason: str) -> DocumentUnreadable:
    problem: FileProblem = "encrypted" if "password" in reason.lower() else "damaged"
    if reason == pdf_worker.TOO_LONG:
        problem = "too_large"
    return DocumentUnreadable(f"is not a readable PDF: {reason}", problem)
