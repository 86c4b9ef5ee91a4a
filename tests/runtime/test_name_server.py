"""The check `dns` against dnsmasq, by itself and through the prober; and that the three kinds belong to the prober."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from supervisor.api import Instance, Status
from supervisor.plugins import discover
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Ran, run_check
from tests.program import free_port
from tests.watching import observe, spec, watching_hosts

pytestmark = pytest.mark.acceptance

CATALOGUE = discover().checks
LONG = " ".join(f'"{"x" * 200} {number}"' for number in range(4))


class _Dnsmasq:
    """A name server that knows a few names, and asks nobody."""

    def __init__(self) -> None:
        program = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin")
        assert program, "run the tests with `make test`, which installs dnsmasq-base"
        self.port = free_port()
        self._process = subprocess.Popen(
            [
                program,
                *("--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file="),
                *("--bind-interfaces", "--listen-address=127.0.0.1,::1", f"--port={self.port}"),
                *(
                    "--local=/example.org/",
                    "--address=/www.example.org/192.0.2.7",
                    "--address=/six.example.org/2001:db8::7",
                ),
                *("--mx-host=example.org,mail.example.org,10", "--cname=web.example.org,www.example.org"),
                "--txt-record=long.example.org," + LONG.replace(" ", ",").replace('"', ""),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(200):
            assert self._process.poll() is None, self._process.communicate()[1]
            with suppress(OSError), socket.create_connection(("::1", self.port)):
                return
            time.sleep(0.02)
        raise AssertionError("dnsmasq does not listen")

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with closing(_Dnsmasq()) as server:
        yield server.port


async def ask(port: int, address: str = "127.0.0.1", **options: Any) -> Ran:
    """Run the check once."""
    probe = NetworkProbe()
    check = CATALOGUE["dns"].cls.model_validate({"port": port, **options})
    ran = await run_check(check, Instance("i-1", "web", address), probe, 5.0)
    await probe.close()
    return ran


ROWS: dict[str, tuple[dict[str, Any], Status, str]] = {
    "an address": ({"domain": "www.example.org", "expect": ["192.0.2.7"]}, Status.OK, "192.0.2.7"),
    "another address": ({"domain": "www.example.org", "expect": ["192.0.2.8"]}, Status.CRITICAL, "192.0.2.7, expected 192.0.2.8"),
    "an address of IPv6": ({"domain": "six.example.org", "type": "AAAA"}, Status.OK, "2001:db8::7"),
    "an exchanger": ({"domain": "example.org", "type": "MX", "expect": ["10 mail.example.org"]}, Status.OK, "10 mail.example.org."),
    "a name that is not there": ({"domain": "none.example.org"}, Status.CRITICAL, "NXDOMAIN, expected NOERROR"),
    "a name that is to be not there": ({"domain": "none.example.org", "rcode": "NXDOMAIN"}, Status.OK, "NXDOMAIN"),
    "somebody else's name": ({"domain": "example.com", "rcode": "REFUSED"}, Status.OK, "REFUSED"),
    "more than a datagram": ({"domain": "long.example.org", "type": "TXT"}, Status.OK, f'"{"x" * 200}" "0"'),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
async def test_a_real_server_s_answers_are_judged(port: int, row: str) -> None:
    """Also one that comes over TCP."""
    options, status, text = ROWS[row]
    result = (await ask(port, **options)).result

    assert status is result.status, result.text
    assert text in result.text


async def test_a_server_is_asked_over_ipv6_and_by_its_name(port: int) -> None:
    """As every instance."""
    for address in ("::1", "localhost"):
        assert Status.OK is (await ask(port, address, domain="www.example.org")).result.status


async def test_the_prober_asks(port: int) -> None:
    """The real one; and it says of each kind what is wrong, without being hurt."""
    async with watching_hosts() as watching:
        watching.hosts.configure(
            {
                "web": [
                    spec("dns", name="name", interval=1.0, timeout=0.9, port=port, domain="www.example.org"),
                    spec("tls", name="no tls", interval=1.0, timeout=0.9, port=port),
                    spec("icmp", name="echo", interval=1.0, timeout=0.9, wait="500ms"),
                ]
            },
            {},
        )
        watching.hosts.apply([observe("i-1")])
        name = await watching.first("name", "192.0.2.7")
        tls = await watching.first("no tls", "")
        echo = await watching.first("echo", "")

    assert Status.OK is name.status
    assert Status.CRITICAL is tls.status
    assert echo.status in (Status.OK, Status.UNKNOWN)  # as this kernel allows
    assert [] == watching.told


def test_the_three_kinds_belong_to_the_prober() -> None:
    """They run no foreign code."""
    assert [(True, False)] * 3 == [
        (CATALOGUE[kind].builtin, CATALOGUE[kind].cls.isolated) for kind in ("dns", "icmp", "tls")
    ]
