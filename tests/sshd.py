"""Debian's own SSH server on this host, for one module of tests: its own keys, its own port, and one account: ours."""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from supervisor.api import SshLogin

SERVER = "/usr/sbin/sshd"
CONF = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
HostCertificate {folder}/host-cert.pub
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PidFile none
PrintMotd no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PATH={folder}/bin:/usr/local/bin:/usr/bin:/bin
"""
SYSTEMCTL = """\
#!/bin/sh
# Stands in for systemd's, which no container runs: what it prints was printed by systemd 252.
cat {folder}/systemctl.out
"""


@dataclass(frozen=True)
class Sshd:
    """A running server."""

    folder: Path
    port: int

    def login(self, **changed: object) -> SshLogin:
        """Return a login that works, but for what is changed."""
        return SshLogin(**{**self.keys, **changed})  # type: ignore[arg-type]  # keys by name

    @property
    def keys(self) -> dict[str, object]:
        """Return the keys of a check's table that work."""
        return {
            "user": getpass.getuser(),
            "port": self.port,
            "key_file": str(self.folder / "key"),
            "known_hosts": str(self.folder / "known"),
        }

    def known(self, text: str) -> str:
        """Write another file of known hosts; return its path. `{host}`, `{other}` and `{ca}` are public keys."""
        keys = {name: (self.folder / f"{name}.pub").read_text().strip() for name in ("host", "other", "ca")}
        path = self.folder / f"known-{abs(hash(text))}"
        path.write_text(text.format(port=self.port, **keys))
        return str(path)

    def says(self, systemctl: str) -> None:
        """Have `systemctl` on this machine print this."""
        (self.folder / "systemctl.out").write_text(systemctl)


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """Start a server, and end it with every session that it has."""
    assert Path(SERVER).exists(), "run the tests with `make test`, which installs openssh-server"
    if os.getuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    for name in ("host", "other", "ca", "key", "stranger"):
        keygen("-t", "ed25519", "-N", "", "-f", str(folder / name))
    keygen("-t", "ed25519", "-N", "secret", "-f", str(folder / "locked"))
    keygen("-s", str(folder / "ca"), "-I", "a golden image", "-h", str(folder / "host.pub"))
    (folder / "bin").mkdir()
    (folder / "bin" / "systemctl").write_text(SYSTEMCTL.format(folder=folder))
    (folder / "bin" / "systemctl").chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "conf").write_text(CONF.format(port=port, folder=folder))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [SERVER, "-D", "-e", "-f", str(folder / "conf")], stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        _wait_for(port, server, folder / "log")
        yield Sshd(folder, port)
    finally:
        sessions = [int(pid) for pid in _children(server.pid)]
        server.terminate()
        server.wait()
        for pid in sessions:
            try:
                os.kill(pid, 15)
            except ProcessLookupError:
                continue


def keygen(*arguments: str) -> None:
    """Make a key, or sign one."""
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, stdin=subprocess.DEVNULL)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"sshd did not start: {log.read_text()}")


def _children(pid: int) -> list[str]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return re.findall(r"\d+", found.read_text()) if found.exists() else []
