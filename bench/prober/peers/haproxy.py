"""HAProxy: a backend's health checks."""

from __future__ import annotations

import csv
import io
import socket
from collections.abc import Sequence

from bench.prober.checker import Checker, Offer, Work

HTTP = """    option httpchk
    http-check send meth GET uri {path} ver HTTP/1.1 hdr Host target
    http-check expect status 200
"""
OPTIONS = {Work.HTTP: ("", HTTP), Work.TCP: ("", ""), Work.TLS: (" check-ssl verify none", HTTP)}
# One thread: several spin and wake each other, which costs it more for each check.
CONFIG = """
global
    nbthread 1
    maxconn 1000
    stats socket {folder}/stats.sock level user
defaults
    mode http
    timeout connect 900ms
    timeout client 1s
    timeout server 1s
    timeout check 900ms
listen nobody
    bind 127.0.0.1:8088
backend targets
{options}{servers}
"""


class Haproxy(Checker):
    """The yardstick: C, one event loop, results kept in memory."""

    name = "haproxy"
    works = frozenset({Work.HTTP, Work.TCP, Work.TLS})
    packages = needs = ("haproxy",)

    def command(self, offer: Offer) -> Sequence[str]:
        """One server for each address."""
        each, options = OPTIONS[offer.work]
        servers = "\n".join(
            f"    server s{n} {address}:{offer.port} check inter 1s fastinter 1s downinter 1s{each}"
            for n, address in enumerate(offer.addresses)
        )
        options = options.format(path=offer.path)
        text = CONFIG.format(folder=offer.folder, options=options, servers=servers)
        return ["haproxy", "-db", "-q", "-f", offer.write("haproxy.cfg", text)]

    def errors(self, offer: Offer) -> int | None:
        """Ask its statistics for the checks that failed."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(5)
            asking.connect(f"{offer.folder}/stats.sock")
            asking.sendall(b"show stat\n")
            told = b"".join(iter(lambda: asking.recv(65536), b""))
        rows = csv.DictReader(io.StringIO(told.decode().removeprefix("# ")))
        return sum(int(row["chkfail"]) for row in rows if row["pxname"] == "targets" and row["svname"] != "BACKEND")
