"""Who may do what with the real daemon: TLS and tokens beyond loopback, a reload, and an audit log that somebody touches."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from supervisor.core.terms import AccessRole
from supervisor.errors import DaemonUnreachable
from supervisor.surfaces.access import new_token
from supervisor.surfaces.client import Client
from tests.program import Sickbay

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

ACCESS = """
[access]
hosts = ["sickbay.test"]
certificate = "cert.pem"
key = {{ file = "{folder}/key.pem" }}

{tokens}
[fleet.web]"""


@pytest.fixture
def sickbay(tmp_path: Path) -> Iterator[Sickbay]:
    """Return a daemon that is not started yet."""
    made = Sickbay(tmp_path, mode="observe")
    try:
        yield made
    finally:
        made.end()


def certify(folder: Path) -> str:
    """Write a certificate for localhost and its key; return the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sickbay.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(text)
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pem").chmod(0o600)
    return text.decode()


def asker(sickbay: Sickbay, certificate: str) -> Callable[..., tuple[int, Any]]:
    """Return how somebody asks over TLS, trusting one certificate only."""
    trust = ssl.create_default_context(cadata=certificate)

    def ask(path: str, token: str = "", body: dict[str, Any] | None = None, host: str = "") -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "Host": host or f"localhost:{sickbay.listen}"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"https://localhost:{sickbay.listen}{path}", data, headers)
        try:
            with urllib.request.urlopen(asked, timeout=10, context=trust) as answer:  # noqa: S310  # https, as above
                text, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read(), error.code
        return status, json.loads(text) if text[:1] in (b"{", b"[") else text

    return ask


def test_beyond_loopback_a_token_says_who_acts(sickbay: Sickbay) -> None:
    """It works over TLS as far as its role goes, stands in the log by its name, and is gone after a reload.

    Of the token itself nothing is written down anywhere.
    """
    token, table = new_token("ci", AccessRole.OPERATE)
    other, other_table = new_token("night", AccessRole.READ)
    text = sickbay.config.read_text().replace("127.0.0.1:" + str(sickbay.listen), f"0.0.0.0:{sickbay.listen}")
    sickbay.config.write_text(text.replace("[fleet.web]", ACCESS.format(tokens=table, folder=sickbay.folder), 1))
    ask = asker(sickbay, certify(sickbay.folder))
    sickbay.start()
    sickbay.until(lambda: answers(sickbay))

    assert (200, b"ok\n") == ask("/healthz")
    assert 401 == ask("/api/v1/status")[0]
    assert 421 == ask("/", token, host="evil.test")[0]
    assert 200 == ask("/", token, host="sickbay.test")[0]
    assert 200 == ask("/api/v1/pause", token, {"name": "ci", "reason": "a deploy"})[0]
    status, refused = ask("/api/v1/purge", token, {"instance": "i-1"})
    assert (403, "this needs the role admin, and ci has operate") == (status, refused["error"])
    entry = daemon(sickbay).get("/api/v1/audit?limit=1")[0]
    assert (
        "ci",
        "token from 127.0.0.1",
        "operator.pause",
        "ci",
        "a deploy",
        "not paused",
        "paused until further notice",
    ) == tuple(entry[key] for key in ("actor", "via", "action", "target", "reason", "before", "after"))

    fresh = certify(sickbay.folder)
    sickbay.config.write_text(sickbay.config.read_text().replace(table, other_table))
    assert sickbay.process is not None
    sickbay.process.send_signal(signal.SIGHUP)
    sickbay.until(lambda: any(line["event"] == "config.loaded" for line in sickbay.log()), 20)
    ask = asker(sickbay, fresh)
    assert 401 == ask("/api/v1/status", token)[0]
    assert 200 == ask("/api/v1/status", other)[0]

    sickbay.kill(signal.SIGTERM)
    for path in sickbay.folder.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path


def test_a_touched_audit_log_is_told_at_the_start_and_named_by_number(sickbay: Sickbay) -> None:
    """Its end cut off, a row changed: told in log and status; everything goes on; the whole story on demand."""
    sickbay.start()
    sickbay.until(lambda: answers(sickbay))
    daemon(sickbay).post("pause", {"name": "ada"})
    daemon(sickbay).post("resume", {"name": "ada", "reason": "done"})
    verified = sickbay.run("audit", "--verify")
    assert 0 == verified.returncode, verified.stderr
    head = next(line.split()[1] for line in verified.stdout.splitlines() if line.startswith("head "))
    shown = sickbay.run("audit", "--since", datetime.now(UTC).date().isoformat()).stdout
    assert "unix socket (uid " in shown
    assert "operator.resume" in shown
    sickbay.kill(signal.SIGTERM)
    last = int(head.partition(":")[0])
    assert f"{head}\n" == (sickbay.folder / "audit.head").read_text()

    write(sickbay, f"DELETE FROM audit WHERE seq = {last}")
    write(sickbay, "UPDATE audit SET actor = 'eve' WHERE action = 'operator.pause'")
    changed = sickbay.rows("SELECT seq FROM audit WHERE actor = 'eve'")[0][0]
    sickbay.start()
    sickbay.until(lambda: any(line["event"] == "audit.broken" for line in sickbay.log()), 20)
    warnings = daemon(sickbay).get("/api/v1/status")["warnings"]
    assert any(f"entry {changed} was changed" in warning for warning in warnings)
    assert any(f"but entry {last} was written once: the end was cut off" in warning for warning in warnings)
    assert "paused by grace" in daemon(sickbay).post("pause", {"name": "grace"})

    for arguments in (["--anchor", head], ["--verify", "--state", str(sickbay.folder / "state.db")]):
        told = sickbay.run("audit", *arguments)
        assert 1 == told.returncode
        assert f"entry {changed} was changed" in told.stdout
        assert f"entry {last}" in told.stdout
    assert f"{head}\n" == (sickbay.folder / "audit.head").read_text()  # nothing blesses what does not fit


def write(sickbay: Sickbay, statement: str) -> None:
    """Do what somebody with the file in hand can do."""
    with closing(sqlite3.connect(sickbay.folder / "state.db")) as journal, journal:
        journal.execute(statement)


def daemon(sickbay: Sickbay) -> Client:
    """Return what talks to the daemon's unix socket, as the command line does."""
    return Client(sickbay.folder / "sickbay.sock")


def answers(sickbay: Sickbay) -> bool:
    """Return whether the daemon listens."""
    try:
        return bool(daemon(sickbay).get("/api/v1/status"))
    except DaemonUnreachable:
        return False


def test_the_group_of_operators_gets_the_socket(sickbay: Sickbay) -> None:
    """Nobody else's group may open it; a group that is not there stops the start in one sentence."""
    text = sickbay.config.read_text()
    sickbay.config.write_text(text.replace("[fleet.web]", '[access]\noperators = "no-such-group"\n[fleet.web]', 1))
    sickbay.start()
    assert sickbay.process is not None
    assert 78 == sickbay.process.wait(30)
    assert "there is no such group here" in sickbay.story()
    if os.geteuid() == 0:
        sickbay.config.write_text(text.replace("[fleet.web]", '[access]\noperators = "daemon"\n[fleet.web]', 1))
        sickbay.start()
        sickbay.until(lambda: answers(sickbay))
        found = (sickbay.folder / "sickbay.sock").stat()
        assert (1, 0o660) == (found.st_gid, found.st_mode & 0o777)
