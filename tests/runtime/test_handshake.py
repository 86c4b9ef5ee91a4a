"""TLS handshakes with nginx, which shows good certificates and bad ones, and with servers that do not shake hands."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from supervisor.api import Instance, NoAnswer, Refusal, Status, TlsAnswer, Unrunnable
from supervisor.plugins import discover
from supervisor.runtime.handshake import Tls
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Ran, run_check
from tests.runtime.nasty import CLOSE, HEARD, RESET, SILENCE, Authority, Nasty, Step

pytestmark = pytest.mark.acceptance

LIMIT = 0.15
CHECK = discover().checks["tls"].cls
NAME = "www.example.org"


@dataclass(frozen=True, slots=True)
class Shown:
    """What one port of the server shows."""

    file: Path
    more: str = "ssl_protocols TLSv1.2 TLSv1.3;"


@dataclass(frozen=True, slots=True)
class Site:
    """A running nginx: a port for each way to be good or bad."""

    ports: dict[str, int]
    trusted: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    top, other = (Authority(tmp_path_factory.mktemp(name), name=name, days=1000) for name in ("top", "other"))
    between = Authority(tmp_path_factory.mktemp("between"), name="between", days=900, above=top)
    ending = Authority(tmp_path_factory.mktemp("ending"), name="ending", days=10.5, above=top)
    ended = Authority(tmp_path_factory.mktemp("ended"), name="ended", days=-2.5, above=top)
    good = top.certificate(NAME, days=90.5, file="good")
    endless = top.folder / "endless.pem"
    endless.write_bytes(good.read_bytes() + top.file.read_bytes() * 260)
    shown = {
        "good": Shown(good),
        "hundreds of them": Shown(endless),
        "good, for an address": Shown(top.certificate("127.0.0.1", days=90.5, file="address")),
        "good, for many names": Shown(top.certificate("example.org", "*.example.org", days=90.5, file="many")),
        "good, with an intermediate": Shown(between.certificate(NAME, days=90.5, chain=True, file="chain")),
        "without the intermediate": Shown(between.certificate(NAME, days=90.5, file="lacking")),
        "an intermediate that ends soon": Shown(ending.certificate(NAME, days=90.5, chain=True, file="ending_soon")),
        "an intermediate that has ended": Shown(ended.certificate(NAME, days=90.5, chain=True, file="ended_long")),
        "ends in ten days": Shown(top.certificate(NAME, days=10.5, file="soon")),
        "ends in three days": Shown(top.certificate(NAME, days=3.5, file="sooner")),
        "expired": Shown(top.certificate(NAME, days=-3.5, file="expired")),
        "not valid yet": Shown(top.certificate(NAME, days=90, since=3.5, file="early")),
        "for another name": Shown(top.certificate("mail.example.org", days=90.5, file="mail")),
        "for no name": Shown(top.certificate(days=90.5, file="nameless")),
        "signed by itself": Shown(top.certificate(NAME, days=90.5, own=True, file="own")),
        "signed by nobody we know": Shown(other.certificate(NAME, days=90.5, file="unknown")),
        "everything at once": Shown(other.certificate("mail.example.org", days=-3.5, file="worst")),
        "TLS 1.2 only": Shown(good, "ssl_protocols TLSv1.2;"),
        "TLS 1.1 only": Shown(good, "ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;"),
        "asks for a certificate of ours": Shown(
            good, f"ssl_protocols TLSv1.3; ssl_client_certificate {top.file}; ssl_verify_client on;"
        ),
    }
    with closing(_Nginx(folder, list(shown.values()))) as nginx:
        yield Site(dict(zip(shown, nginx.ports, strict=True)), top.file)


class _Nginx:
    """One process with a port for each certificate."""

    def __init__(self, folder: Path, shown: Sequence[Shown]) -> None:
        program = shutil.which("nginx", path=f"/usr/sbin:{os.environ['PATH']}")
        assert program, "run the tests with `make test`, which installs nginx"
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in shown]
        self.ports = [int(sock.getsockname()[1]) for sock in sockets]
        for sock in sockets:
            sock.close()
        servers = "\n".join(
            f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {one.file}; ssl_certificate_key {one.file}; {one.more} }}"
            for port, one in zip(self.ports, shown, strict=True)
        )
        temporary = "".join(
            f"{kind}_temp_path {folder}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = folder / "nginx.conf"
        file.write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/log crit; events {{}}\n"
            f"http {{ access_log off; {temporary}\n{servers}\n}}\n"
        )
        command = [program, "-p", str(folder), "-c", str(file)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(200):
            assert self._process.poll() is None, self._process.communicate()[1]
            try:
                socket.create_connection(("127.0.0.1", self.ports[-1])).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("nginx does not listen")

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


@pytest.fixture(autouse=True, scope="module")
def pipes_of_uvloop() -> None:
    """It opens a pair with its first loop, and keeps them."""
    uvloop.run(asyncio.sleep(0))


async def checked(port: int, *, timeout: float = 5.0, **options: Any) -> Ran:
    """Run the check once, and see that nothing is left open."""
    before = len(os.listdir("/proc/self/fd"))
    probe = NetworkProbe()
    ran = await run_check(
        CHECK.model_validate({"port": port, **options}), Instance("i-1", "web", "127.0.0.1"), probe, timeout
    )
    await probe.close()
    assert before == len(os.listdir("/proc/self/fd"))
    return ran


GOOD = "the certificate is good for 90 days, until "
UNKNOWN = "unable to get local issuer certificate"
ROWS: dict[str, tuple[str, dict[str, Any], Status, str]] = {
    "a good one": ("good", {}, Status.OK, f"TLS 1.3: {GOOD}"),
    "for its address": ("good, for an address", {"server_name": "127.0.0.1"}, Status.OK, f"TLS 1.3: {GOOD}"),
    "for any label": ("good, for many names", {}, Status.OK, f"TLS 1.3: {GOOD}"),
    "by way of an intermediate": ("good, with an intermediate", {}, Status.OK, f"TLS 1.3: {GOOD}"),
    "without it": ("without the intermediate", {}, Status.CRITICAL, f"the chain is not trusted: {UNKNOWN}; who signed it, CN=between, is neither known nor shown"),
    "an intermediate that ends soon": ("an intermediate that ends soon", {}, Status.WARNING, "TLS 1.3: CN=ending, shown with it, expires in 10 days, on "),
    "an intermediate that has ended": ("an intermediate that has ended", {}, Status.CRITICAL, "TLS 1.3: the chain is not trusted: certificate has expired"),
    "soon over": ("ends in ten days", {}, Status.WARNING, "TLS 1.3: the certificate expires in 10 days, on "),
    "sooner over": ("ends in three days", {}, Status.CRITICAL, "TLS 1.3: the certificate expires in 3 days, on "),
    "soon over, and soon enough": ("ends in three days", {"warn": "3d", "critical": "1d"}, Status.OK, "good for 3 days"),
    "over": ("expired", {}, Status.CRITICAL, "TLS 1.3: the certificate expired 3 days ago, on "),
    "over, and never mind the chain": ("expired", {"verify": False}, Status.CRITICAL, "TLS 1.3: the certificate expired 3 days ago, on "),
    "too early": ("not valid yet", {}, Status.CRITICAL, "TLS 1.3: the certificate is not valid for another 3 days, until "),
    "for another name": ("for another name", {}, Status.CRITICAL, f"TLS 1.3: the certificate is for mail.example.org, not for {NAME}"),
    "for another name, and never mind": ("for another name", {"server_name": ""}, Status.OK, f"TLS 1.3: {GOOD}"),
    "for no name": ("for no name", {}, Status.CRITICAL, f"the certificate is for no name, not for {NAME}"),
    "its own authority": ("signed by itself", {}, Status.CRITICAL, "TLS 1.3: the chain is not trusted: self-signed certificate"),
    "its own, and never mind": ("signed by itself", {"verify": False}, Status.OK, f"TLS 1.3: {GOOD}"),
    "a stranger's": ("signed by nobody we know", {}, Status.CRITICAL, f"TLS 1.3: the chain is not trusted: {UNKNOWN}"),
    "a good one, and whom do we trust": ("good", {"ca_file": ""}, Status.CRITICAL, f"TLS 1.3: the chain is not trusted: {UNKNOWN}"),
    "an older protocol": ("TLS 1.2 only", {}, Status.OK, f"TLS 1.2: {GOOD}"),
    "an older protocol, and not old enough": ("TLS 1.2 only", {"least": "1.3"}, Status.CRITICAL, "it does not speak TLS 1.3 or newer"),
    "too old a protocol": ("TLS 1.1 only", {}, Status.CRITICAL, "it does not speak TLS 1.2 or newer"),
    "more than anybody reads": ("hundreds of them", {}, Status.CRITICAL, "broken answer (TLS: the handshake has no end)"),
    "one who wants to know who we are": ("asks for a certificate of ours", {}, Status.OK, f"TLS 1.3: {GOOD}"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
async def test_a_certificate_is_judged(site: Site, row: str) -> None:
    """Each fault has its sentence, with the date."""
    shown, options, status, text = ROWS[row]
    trust = {} if options.get("verify") is False else {"ca_file": str(site.trusted)}
    result = (await checked(site.ports[shown], **{"server_name": NAME, **trust, **options})).result

    assert (status, False) == (result.status, result.silent), result.text
    assert text in result.text


async def test_all_that_is_wrong_is_told_at_once(site: Site) -> None:
    """Whoever mends it mends it once."""
    ran = await checked(site.ports["everything at once"], server_name=NAME, ca_file=str(site.trusted))
    first, second, third = ran.result.text.split("; ", 2)

    assert "expired 3 days ago" in first
    assert f"is for mail.example.org, not for {NAME}" in second
    assert f"the chain is not trusted: {UNKNOWN}" in third


async def test_the_time_that_is_left_is_a_metric(site: Site) -> None:
    """In seconds; below zero when it is over."""
    left = [
        (await checked(site.ports[name], verify=False)).result.metrics["expires_in"] / 86400
        for name in ("good", "expired")
    ]

    assert [pytest.approx(90.5, abs=0.1), pytest.approx(-3.5, abs=0.1)] == left


def test_the_prober_s_loop_is_another_one(site: Site) -> None:
    """Its sockets are waited for in another way."""
    result = uvloop.run(checked(site.ports["good"], server_name=NAME, ca_file=str(site.trusted))).result

    assert Status.OK is result.status, result.text
    assert 0 < (result.seconds or 0) < 5


async def test_authorities_are_read_anew_when_their_file_has_changed(site: Site, tmp_path: Path) -> None:
    """And a file that says nothing of use makes no machine sick."""
    tls, file = Tls(), tmp_path / "ca.pem"
    told: list[str] = []

    async def ask() -> None:
        try:
            answer = await tls.handshake("127.0.0.1", site.ports["good"], ca_file=str(file))
        except Unrunnable as error:
            told.append(str(error).removeprefix(f"{file} "))
        else:
            told.append(answer.untrusted)

    await ask()
    for number, text in enumerate(
        (b"none", Authority(tmp_path, name="other").file.read_bytes(), site.trusted.read_bytes())
    ):
        file.write_bytes(text)
        os.utime(file, (number, number))
        await ask()

    assert [
        "can't be read: no such file or directory; mend `ca_file`",
        "holds no certificates in PEM; mend `ca_file`",
        UNKNOWN,
        "",
    ] == told


BAD: dict[str, tuple[Sequence[Step], str]] = {
    "another protocol": ((HEARD, b"HTTP/1.1 400 Bad Request\r\n\r\n"), "what answers does not speak TLS"),
    "another protocol, whoever asks": ((b"220 mail.example.org ESMTP\r\n",), "what answers does not speak TLS"),
    "closing": ((HEARD, CLOSE), "broken answer (TLS: closed within the handshake)"),
    "a reset": ((HEARD, RESET), "connection reset by peer"),
    "an alert": ((HEARD, b"\x15\x03\x03\x00\x02\x02\x28"), "broken answer (TLS: "),
    "no end": ((HEARD, *[b"\x16\x03\x03\x40\x00" + b"\x02\x00\xff\xff" + b"\0" * 0x3FFC] * 10, SILENCE), "broken answer (TLS: "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_handshake_is_a_refusal(name: str) -> None:
    """It answers, and badly."""
    script, text = BAD[name]
    async with Nasty(script).listening() as server:
        result = (await checked_beside(server.port)).result

    assert (Status.CRITICAL, False) == (result.status, result.silent)
    assert text in result.text


async def test_silence_is_silence_however_late_it_begins() -> None:
    """The limit is one for all of it."""
    for script in ((SILENCE,), (HEARD, b"\x16\x03\x03\x00\x7a\x02", SILENCE)):
        async with Nasty(script).listening() as server:
            result = (await checked_beside(server.port, LIMIT)).result
        assert (Status.CRITICAL, True, "no answer within 150ms") == (result.status, result.silent, result.text)


async def checked_beside(port: int, limit: float = 5.0) -> Ran:
    """Run the check once; the server is in this process, so descriptors come and go."""
    probe = NetworkProbe()
    check = CHECK.model_validate({"port": port, "verify": False})
    ran = await run_check(check, Instance("i-1", "web", "127.0.0.1"), probe, limit)
    await probe.close()
    return ran


async def test_the_real_answer_has_what_was_shown(site: Site) -> None:
    """The instance's own certificate first, in DER; a bad chain costs a second connection, and is told."""
    tls = Tls()
    port = site.ports["good, with an intermediate"]
    untrusted = await tls.handshake("localhost", port, server_name=NAME)
    trusted = await tls.handshake("127.0.0.1", port, ca_file=str(site.trusted))

    assert ssl.DER_cert_to_PEM_cert(trusted.certificates[0]) == ssl.get_server_certificate(("127.0.0.1", port))
    assert (2, "1.3", "") == (len(trusted.certificates), trusted.version, trusted.untrusted)
    assert TlsAnswer("1.3", trusted.certificates, UNKNOWN, untrusted.seconds) == untrusted


async def test_refusals_and_forbidden_addresses_are_as_with_tcp() -> None:
    """In the same words."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Refusal, match="^connection refused$"):
            await Tls().handshake("127.0.0.1", unused.getsockname()[1])
    with pytest.raises(PermissionError, match="no address of a machine"):
        await Tls().handshake("169.254.169.254", 443)
    with pytest.raises(OSError, match="does not resolve") as caught:
        await Tls().handshake("nobody.invalid", 443)
    assert not isinstance(caught.value, NoAnswer)
