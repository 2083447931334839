"""Debian's nginx with the configuration that the project ships, on free loopback ports, with a certificate of its own."""

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.servers.redis import free_port
from tests.settings_tree import ROOT

TEMPLATE = ROOT / "deploy" / "nginx" / "hubbub.conf.template"
MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
{user}
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/hubbub.conf;
}}
"""


class NginxServer:
    """One nginx in front of a hub.

    Args:
        folder: an empty one, for its configuration and logs.
        hub_port: where the hub listens on this machine.
    """

    def __init__(self, folder: Path, hub_port: int) -> None:
        self.http_port, self.https_port = free_port(), free_port()
        self.http_url = f"http://localhost:{self.http_port}"
        self.url = f"https://localhost:{self.https_port}"
        self.certificate = folder / "hub.pem"
        self._folder = folder
        self._values = {
            "PROXY_UPSTREAM": f"127.0.0.1:{hub_port}",
            "PROXY_SERVER_NAME": "localhost",
            "PROXY_TLS": str(folder),
            "PROXY_HTTP_PORT": f"127.0.0.1:{self.http_port}",
            "PROXY_HTTPS_PORT": f"127.0.0.1:{self.https_port}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Write certificate and configuration, check it as an operator would, and start."""
        options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", str(self._folder / "hub.key"), "-out", str(self.certificate)]
        subprocess.run(["openssl", "req", *options.split(), *names, *files], check=True, capture_output=True)
        text = re.sub(r"\$\{(\w+)\}", lambda name: self._values[name[1]], TEMPLATE.read_text("utf-8"))
        (self._folder / "hubbub.conf").write_text(text, "utf-8")
        main = self._folder / "nginx.conf"
        # Its workers would become nobody, who may not read this folder.
        main.write_text(
            MAIN.format(folder=self._folder, user="user root;" if os.geteuid() == 0 else ""), "utf-8"
        )
        command = [
            shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") or "nginx",
            "-c",
            str(main),
        ]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        if checked.returncode or "[warn]" in checked.stderr:
            raise RuntimeError(checked.stderr)
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + 20
        while not self._listens():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._folder / "error.log").read_text("utf-8"))
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.https_port), timeout=1):
                return True
        except OSError:
            return False

    def __enter__(self) -> "NginxServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
