"""A real Mosquitto with certificates of its own authority, as docs/howto/heartbeats.md has it; and machines that beat."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.program import free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "mosquitto"
SUPERVISOR = "sickbay-supervisor"


class Authority:
    """Issues certificates into a folder: NAME.crt and NAME.key, and its own as ca.crt."""

    def __init__(self, folder: Path) -> None:
        """Make the authority's own."""
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        made = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        signed = made.sign(self._key, hashes.SHA256())
        (folder / "ca.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate for this name, valid for 127.0.0.1, and of its key."""
        certificate, kept = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        if not certificate.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
            signed = self._builder(subject, key).add_extension(host, False).sign(self._key, hashes.SHA256())
            certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
            kept.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            kept.chmod(0o600)
        return certificate, kept

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )


class Mosquitto:
    """A broker in a folder of its own. With `acl`, as it is shipped; without, everybody may write everywhere."""

    def __init__(self, folder: Path, *, acl: bool = True, plain: bool = False) -> None:
        """Write the configuration that ships, with this folder's paths and a free port."""
        folder.chmod(0o755)
        self.folder, self.port, self.plain = folder, free_port(), plain
        self.authority = Authority(folder)
        self.authority.issue("broker")
        shutil.copy(SHIPPED / "sickbay.acl", folder / "sickbay.acl")
        text = (SHIPPED / "sickbay.conf").read_text().replace("/etc/mosquitto/sickbay", str(folder))
        text = text.replace("listener 8883", f"listener {self.port} 127.0.0.1")
        if not acl:
            text = text.replace("acl_file", "# acl_file")
        if plain:
            text = f"listener {self.port} 127.0.0.1\nallow_anonymous true\n"
        (folder / "sickbay.conf").write_text(f"{text}\nuser root\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self.folder / "mosquitto.log").open("ab") as said:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(self.folder / "sickbay.conf")], stdout=said, stderr=said
            )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "mosquitto.log").read_text()
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """Kill it where it stands."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def table(self, **changes: str) -> str:
        """Return the table [mqtt] for the supervisor."""
        certificate, key = self.authority.issue(SUPERVISOR)
        keys = {
            "url": f'"mqtts://127.0.0.1:{self.port}"',
            "ca_file": f'"{self.folder}/ca.crt"',
            "certificate": f'"{certificate}"',
            "key": f'{{ file = "{key}" }}',
        }
        if self.plain:
            keys = {"url": f'"mqtt://127.0.0.1:{self.port}"'}
        return "\n[mqtt]\n" + "".join(f"{key} = {value}\n" for key, value in {**keys, **changes}.items())

    @contextmanager
    def client(self, name: str, fleet: str = "web", *, will: bool = False) -> Iterator[paho.Client]:
        """Connect somebody under this name, until the end of the block."""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, reconnect_on_failure=False)
        if not self.plain:
            certificate, key = self.authority.issue(name)
            client.tls_set(str(self.folder / "ca.crt"), str(certificate), str(key), tls_version=ssl.PROTOCOL_TLS_CLIENT)
        if will:
            client.will_set(f"sickbay/v1/{fleet}/presence/{name}", "offline", qos=1, retain=True)
        client.connect("127.0.0.1", self.port, 60)
        client.loop_start()
        deadline = time.monotonic() + 10
        while not client.is_connected():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield client
        finally:
            client.disconnect()
            client.loop_stop()


def beat(seq: int, boot: str = "boot-1", **more: Any) -> bytes:
    """Return the message of a heartbeat."""
    return json.dumps({"seq": seq, "boot_id": boot, **more}).encode()


def topic(instance: str, what: str = "heartbeat", fleet: str = "web") -> str:
    """Return where it goes."""
    return f"sickbay/v1/{fleet}/{what}/{instance}"


def send(client: paho.Client, where: str, payload: bytes, *, retain: bool = False) -> None:
    """Publish, and wait until the broker has it; what an ACL refuses it takes as well."""
    client.publish(where, payload, qos=1, retain=retain).wait_for_publish(10)
