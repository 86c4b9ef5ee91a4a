"""A real web server for each running instance, on the instance's own 127.x address, with a thread of their own.

A machine is `on` (it serves), `booting` (it refuses connections), or `off` (its packets vanish: not running, isolated,
or its host is gone). Silence is made of a listening socket whose queue is full: the kernel then drops every SYN, so that
a client waits as long as it would on the real network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
from dataclasses import dataclass, field

from tests.standins.aws.thread import LoopThread

KINDS = ("crash", "hang", "errors", "silent", "slow")


@dataclass(slots=True)
class Machine:
    """One address, and what answers there."""

    instance: str
    address: str
    version: str
    state: str = ""
    """on, booting or off."""
    fault: str = ""
    """One of `KINDS`; a boot takes it away."""
    boots: int = 1
    served: int = 0
    sockets: list[socket.socket] = field(default_factory=list)
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def shape(self) -> str:
        """How its address looks from outside: open, closed or silent."""
        if self.state == "off" or self.fault == "silent":
            return "silent"
        return "closed" if self.state == "booting" or self.fault == "crash" else "open"


class Machines:
    """The web servers of all instances; what a machine shows for its image may be given in `by_image`."""

    def __init__(self) -> None:
        """Begin with none; `port` is where all of them listen."""
        self.port = free_port()
        self.by_image: dict[str, str] = {}
        """A fault that each new machine of an image has for good."""
        self.known: dict[str, Machine] = {}
        self._thread = LoopThread("aws machines")
        self._answers: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Be ready for machines."""
        self._thread.start()

    def stop(self) -> None:
        """Switch all of them off for good."""
        for name in list(self.known):
            self.forget(name)
        self._thread.stop()

    def fault(self, instance: str, kind: str) -> None:
        """Make a machine sick: one of `KINDS`, or "" to heal it."""
        if kind and kind not in KINDS:
            raise ValueError(f"{kind}: expected one of {', '.join(KINDS)}")
        machine = self.known[instance]
        machine.fault = kind
        self._thread.run(self._shape(machine))

    def served(self, instance: str) -> int:
        """Return how many requests a machine has answered well."""
        return self.known[instance].served

    def show(self, instance: str, address: str, image: str, state: str, boots: int) -> None:
        """Bring a machine into a state, if it is not in it. A new boot heals what is not in its image."""
        machine = self.known.get(instance)
        if machine is None:
            for former in [m.instance for m in self.known.values() if m.address == address]:
                self.forget(former)  # AWS gives the address of the dead to the living
            machine = self.known[instance] = Machine(instance, address, image, fault=self.by_image.get(image, ""))
        if (machine.state, machine.boots) == (state, boots):
            return
        if machine.boots != boots:
            machine.fault = self.by_image.get(image, "")
        machine.state, machine.boots = state, boots
        self._thread.run(self._shape(machine))

    def forget(self, instance: str) -> None:
        """Give a machine's address back."""
        machine = self.known.pop(instance, None)
        if machine is not None:
            self._thread.run(self._close(machine))

    async def _shape(self, machine: Machine) -> None:
        await self._close(machine)
        if machine.shape == "open":
            listening = _bound(machine.address, self.port)

            def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                machine.writers.add(writer)  # at once: a task that is cancelled before it begins closes nothing
                task = asyncio.get_running_loop().create_task(self._answer(machine, reader, writer))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)

            machine.server = await asyncio.start_server(answer, sock=listening)
        if machine.shape == "silent":
            listening = _bound(machine.address, self.port)
            listening.listen(0)
            machine.sockets = [listening]
            for _ in range(2):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex((machine.address, self.port))
                machine.sockets.append(filler)

    @staticmethod
    async def _close(machine: Machine) -> None:
        if machine.server is not None:
            # A connection that is being accepted while its server closes is lost by asyncio, with a warning.
            for one in machine.server.sockets:
                asyncio.get_running_loop().remove_reader(one.fileno())
            for _ in range(3):
                await asyncio.sleep(0)
            machine.server.close()
        for writer in list(machine.writers):
            writer.transport.abort()
        for one in machine.sockets:
            one.close()
        machine.server, machine.sockets = None, []

    async def _answer(self, machine: Machine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                if machine.fault in ("hang", "slow"):
                    await asyncio.sleep(3600 if machine.fault == "hang" else 1.0)
                status = "500 Internal Server Error" if machine.fault == "errors" else "200 OK"
                machine.served += machine.fault != "errors"
                body = json.dumps(
                    {"instance": machine.instance, "image": machine.version, "boot": machine.boots}
                ).encode()
                head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
                await writer.drain()
        finally:
            machine.writers.discard(writer)
            writer.close()


def _bound(address: str, port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except OSError:
        listening.close()
        raise
    return listening


def free_port() -> int:
    """Return a port that nobody uses on any address, nor will be given by the kernel to somebody else."""
    for port in random.sample(range(10_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    raise OSError("no free port")
