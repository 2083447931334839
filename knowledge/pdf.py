"""Reads PDF files in a process of their own, because a crafted one may crash or exhaust its reader."""

import json
import subprocess
import sys
from pathlib import Path

from hub.errors import KnowledgeError
from knowledge.markdown import Section

WORKER = Path(__file__).with_name("pdf_worker.py")
TIMEOUT_S = 120


def read_pdf(data: bytes) -> tuple[str, list[Section]]:
    """Give the title and one section for each page.

    Raises: KnowledgeError: it cannot be read, or not within the worker's limits.
    """
    command = [sys.executable, "-I", str(WORKER)]
    try:
        # The worker sees an empty environment: it needs none and shall know no secrets.
        done = subprocess.run(  # noqa: S603
            command, input=data, capture_output=True, timeout=TIMEOUT_S, env={}, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise KnowledgeError(f"took longer than {TIMEOUT_S} s to read") from error
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise KnowledgeError(f"is not a readable PDF: {last or f'the reader ended with {done.returncode}'}")
    answer = json.loads(done.stdout)
    pages = enumerate(answer["pages"], start=1)
    return answer["title"], [Section(heading=f"page {number}", text=text) for number, text in pages]
