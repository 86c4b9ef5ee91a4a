"""Who is asked: one nginx on every address of 127/8, and what is put before it: silence, refusals, nobody at all."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

from bench.whole.provider.listed import address_of

PORT = 8080
QUEUE = 8
"""Connections that the kernel takes for somebody who never will; after them, not even that."""

CONFIG = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
worker_rlimit_nofile 65000;
events {{ worker_connections 60000; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    keepalive_requests 100000000;
    geo $server_addr $hangs_up {{ default 0; include {folder}/refusing.conf; }}
    server {{
        listen {port} backlog=65535 reuseport;
        location / {{ if ($hangs_up) {{ return 444; }} default_type text/plain; return 200 "ok"; }}
    }}
}}
"""


class Target:
    """nginx, running; not counted."""

    def __init__(self, folder: Path) -> None:
        """Start it."""
        self._folder = folder
        self._silent: list[socket.socket] = []
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=PORT))
        (folder / "refusing.conf").write_text("")
        self.start()

    def start(self) -> None:
        """Serve."""
        self._process = subprocess.Popen(["nginx", "-p", self._folder, "-c", self._folder / "nginx.conf"])
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", PORT)) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit(f"nginx does not answer on port {PORT}")

    def stop(self) -> None:
        """Serve nobody: every connection is refused."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def hang(self, numbers: range) -> None:
        """Have these accept, and never answer: a socket of their own hears them, and nobody listens to it."""
        for one in self._silent:
            one.close()
        self._silent = []
        for number in numbers:
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as nginx, whose is every address else
            made.bind((address_of(number), PORT))
            made.listen(QUEUE)
            self._silent.append(made)

    def refuse(self, numbers: range) -> None:
        """Have these hang up on whoever asks."""
        lines = [f"{address_of(number)} 1;\n" for number in numbers]
        (self._folder / "refusing.conf").write_text("".join(lines))
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        """End it."""
        self.hang(range(0))
        self.stop()
