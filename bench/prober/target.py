"""Who is asked: one nginx on every address of 127/8, that counts what arrives. What it costs is nobody's business."""

from __future__ import annotations

import http.client
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import proc
from bench.prober.checker import Unusable, Work

PORT = 8080
TLS_PORT = 8443
STATUS_PORT = 8089
PATH = "/healthz"
ENDS_WITHIN = 5.0  # seconds

CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
events {{ worker_connections 16000; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    keepalive_timeout 75s;
    keepalive_requests 100000000;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    ssl_session_tickets on;
    server {{
        listen {port} backlog=65535;
        listen {tls_port} ssl backlog=65535;
        location / {{ default_type text/plain; return 200 "ok"; }}
    }}
    server {{
        listen 127.0.0.1:{status_port};
        keepalive_timeout 1h;
        location / {{ stub_status; }}
    }}
}}
"""
COUNTS = re.compile(rb"\s(\d+) (\d+) (\d+)\s")


@dataclass(frozen=True, slots=True)
class Count:
    """What arrived since the target began."""

    connections: int
    requests: int
    hung_up: int
    """Connections that were reset before their handshake was over: nginx is never told of them, the kernel counts them."""

    def checks(self, work: Work) -> int:
        """Return how many checks that makes."""
        return self.connections + self.hung_up if work is Work.TCP else self.requests

    def __sub__(self, other: Count) -> Count:
        """Return what arrived between two readings."""
        return Count(self.connections - other.connections, self.requests - other.requests, self.hung_up - other.hung_up)


class Target:
    """nginx, running."""

    def __init__(self, folder: Path) -> None:
        """Start it, with a certificate of its own."""
        key = (
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        )
        subprocess.run(
            [*key, "-subj", "/CN=target", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/certificate.pem"],
            check=True,
            capture_output=True,
        )
        file = folder / "nginx.conf"
        file.write_text(CONFIG.format(folder=folder, port=PORT, tls_port=TLS_PORT, status_port=STATUS_PORT))
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(["nginx", "-p", folder, "-c", file], stdout=quiet, stderr=quiet)
        self._status = http.client.HTTPConnection("127.0.0.1", STATUS_PORT, timeout=2)
        self._looks = 0
        for _ in range(100):
            try:
                self.count()
                return
            except OSError:
                self._status.close()
                time.sleep(0.05)
        self.close()
        raise Unusable(f"nginx does not start, or does not answer on port {STATUS_PORT}")

    def count(self) -> Count:
        """Return what arrived so far, our own looks not counted."""
        self._status.request("GET", "/")
        found = COUNTS.search(self._status.getresponse().read())
        if found is None:
            raise Unusable("nginx's status page is not what it was")
        self._looks += 1
        accepts, _, requests = (int(number) for number in found.groups())
        return Count(accepts - 1, requests - self._looks, _hung_up())

    def close(self) -> None:
        """End it."""
        self._status.close()
        self._process.terminate()
        try:
            self._process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it."""
        self.close()


def _hung_up() -> int:
    return proc.tcp("AttemptFails")
