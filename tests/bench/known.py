"""A network of its own, in which is done what is known exactly; prints what the prober's bench makes of it, as JSON.

python -m tests.bench.known                                 counts and figures
python -m tests.bench.known PORT PATH MILLISECONDS ADDRESS...   asks each address once a second, at a known cost
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.prober import meter, namespace
from bench.prober.checker import Checker, Offer, Work
from bench.prober.rounds import Bench, address
from bench.prober.target import PATH, PORT, TLS_PORT, Count, Target

COST = 20  # CPU milliseconds for each check
PACE = 10  # checks a second
QUESTION = f"GET {PATH} HTTP/1.1\r\nHost: target\r\n\r\n".encode()


def ask(connection: socket.socket) -> None:
    """Ask once, and read the answer."""
    connection.sendall(QUESTION)
    if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
        raise SystemExit("no answer")


def anew(count: int) -> None:
    """Ask over a new connection each time."""
    for n in range(count):
        with socket.create_connection((address(n), PORT)) as connection:
            ask(connection)


def kept(count: int) -> None:
    """Ask over one connection."""
    with socket.create_connection((address(0), PORT)) as connection:
        for _ in range(count):
            ask(connection)


def sealed(count: int) -> None:
    """Ask over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for n in range(count):
        with context.wrap_socket(socket.create_connection((address(n), TLS_PORT))) as connection:
            ask(connection)


def connected(count: int) -> None:
    """Connect, say nothing, and leave in good order."""
    for n in range(count):
        socket.create_connection((address(n), PORT)).close()


def hung_up(count: int) -> None:
    """Answer the target's half of the handshake with a reset, as HAProxy does."""
    for n in range(count):
        with socket.socket() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.connect((address(n), PORT))


class Known(Checker):
    """Asks PACE times a second, COST each."""

    name = "known"
    works = frozenset({Work.HTTP})
    most = PACE

    def command(self, offer: Offer) -> Sequence[str]:
        """Run this file."""
        return [sys.executable, "-m", "tests.bench.known", str(offer.port), offer.path, str(COST), *offer.addresses]


def burn(milliseconds: float) -> None:
    """Use so much CPU, whatever this process has used before, and whoever else wants some."""
    until = time.process_time() + milliseconds / 1000
    while time.process_time() < until:
        pass


def spend(port: int, path: str, milliseconds: float, addresses: Sequence[str]) -> None:
    """Ask each once a second, for ever."""
    began, number = time.monotonic(), 0
    while True:
        time.sleep(max(0.0, began + number / len(addresses) - time.monotonic()))
        before = time.process_time()
        with socket.create_connection((addresses[number % len(addresses)], port)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: target\r\n\r\n".encode())
            connection.recv(4096)
        burn(milliseconds - (time.process_time() - before) * 1000)
        number += 1


def counted(target: Target, deed: Callable[[int], None], count: int) -> dict[str, int]:
    """Do it; return what the target made of it, once it has had the time to notice."""
    before = target.count()
    deed(count)
    time.sleep(0.3)
    found: Count = target.count() - before
    return {work: found.checks(work) for work in (Work.HTTP, Work.TCP)}


def main() -> None:
    """Print."""
    namespace.enter()
    with tempfile.TemporaryDirectory() as folder, Target(Path(folder)) as target:
        counts = {deed.__name__: counted(target, deed, 37) for deed in (anew, kept, sealed, connected, hung_up)}
        accounts: list[Callable[[str], meter.Group]] = [meter.group, lambda _: meter.ProcessTree()]
        figures = [
            figure
            for account in accounts
            for figure in Bench(target, 100, 3.0, Path(folder), print, account).play(1, [Work.HTTP], [Known()])
        ]
    print(json.dumps({"counts": counts, "figures": [asdict(figure) for figure in figures]}))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        spend(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4:])
