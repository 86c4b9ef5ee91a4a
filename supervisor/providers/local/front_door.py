"""The front door: a small HTTP load balancer in a process of its own.

    python -m supervisor.providers.local.front_door --fleet NAME --state FOLDER --listen ADDRESS:PORT

The provider starts it, and it lives on while the supervisor is away. It judges its targets by a health check of its
own, knows nothing of the supervisor's judgement, and is steered over a unix socket in its folder:
GET /targets, PUT /targets/ID {"address", "port"}, DELETE /targets/ID.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

from supervisor.providers.local.front_door_client import SOCKET, short_path
from supervisor.providers.local.front_door_proxy import Proxy
from supervisor.providers.local.front_door_targets import Target, Targets
from supervisor.providers.local.layout import Layout
from supervisor.providers.local.options import split_listen

DRAIN = 3.0  # seconds that requests in flight get at the end


@dataclass(frozen=True, slots=True)
class Health:
    """How targets are asked. Seconds."""

    path: str
    interval: float
    timeout: float


async def serve(layout: Layout, listen: str, health: Health) -> None:
    """Serve until SIGTERM. Raises `OSError` when the port is taken, `ValueError` when targets.json is damaged."""
    targets = Targets(layout.front_door / "targets.json")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connector = TCPConnector(force_close=True, limit=0)
    async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False) as client:
        proxy = await _listen(Proxy(targets, client).app(), _tcp_socket(listen))
        control = await _listen(Control(targets).app(), _unix_socket(layout.front_door / SOCKET))
        checks = asyncio.create_task(_check_for_ever(targets, client, health), name="front door: health checks")
        stopped = asyncio.create_task(stop.wait(), name="front door: signals")
        print(f"front door of fleet {layout.fleet} listens on {listen}, {len(targets.all())} targets", flush=True)
        try:
            await asyncio.wait((checks, stopped), return_when=asyncio.FIRST_COMPLETED)
            if checks.done():
                checks.result()  # an eternal task that ends is an error
        finally:
            checks.cancel()
            stopped.cancel()
            await proxy.cleanup()
            await control.cleanup()


async def _listen(app: web.Application, sock: socket.socket) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN)
    await runner.setup()
    await web.SockSite(runner, sock, backlog=512).start()
    return runner


def _tcp_socket(listen: str) -> socket.socket:
    host, port = split_listen(listen)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    return sock


def _unix_socket(path: Path) -> socket.socket:
    # Our folder's lock is held, so a socket that stands here is a dead one's.
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(path) as short:
        sock.bind(short)
    path.chmod(0o600)
    return sock


# ---------------------------------------------------------------------------------------------- health checks


async def _check_for_ever(targets: Targets, client: ClientSession, health: Health) -> None:
    """Keep one checker per target, so that a silent one delays no other."""
    running: dict[Target, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as group:
        while True:
            wanted = {Target(target.id, target.address, target.port) for target in targets.all().values()}
            for target in running.keys() - wanted:
                running.pop(target).cancel()
            for target in wanted - running.keys():
                name = f"front door: check {target.id}"
                running[target] = group.create_task(_check(targets, target, client, health), name=name)
            await asyncio.sleep(min(0.05, health.interval))


async def _check(targets: Targets, target: Target, client: ClientSession, health: Health) -> None:
    limit = ClientTimeout(total=health.timeout)
    while True:
        try:
            async with client.get(target.url + health.path, timeout=limit, allow_redirects=False) as answer:
                well = 200 <= answer.status < 300
        except (ClientError, OSError, TimeoutError, ValueError):
            well = False
        targets.judge(target.id, well=well)
        await asyncio.sleep(health.interval)


# ---------------------------------------------------------------------------------------------- control


class Control:
    """What the provider asks over the unix socket. A change is on disk before it is answered."""

    def __init__(self, targets: Targets) -> None:
        """Steer these targets."""
        self.targets = targets
        self._writing = asyncio.Lock()

    def app(self) -> web.Application:
        """Return the routes."""
        app = web.Application(client_max_size=64 << 10)
        app.router.add_get("/targets", self.show)
        app.router.add_put("/targets/{id}", self.register)
        app.router.add_delete("/targets/{id}", self.deregister)
        return app

    async def show(self, _request: web.Request) -> web.Response:
        """List the targets."""
        entries = [
            {"id": target.id, "address": target.address, "port": target.port, "health": target.health}
            for target in self.targets.all().values()
        ]
        return web.json_response({"targets": entries})

    async def register(self, request: web.Request) -> web.Response:
        """Add a target."""
        try:
            body = await request.json()
            address, port = str(body["address"]), int(body["port"])
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": "expected address and port"}, status=400)
        async with self._writing:
            changed = self.targets.register(request.match_info["id"], address, port)
            await self._save()
        return web.json_response({"changed": changed})

    async def deregister(self, request: web.Request) -> web.Response:
        """Take a target out. Requests in flight end by themselves."""
        async with self._writing:
            changed = self.targets.deregister(request.match_info["id"])
            await self._save()
        return web.json_response({"changed": changed})

    async def _save(self) -> None:
        # Unchanged targets too: an earlier write may have failed after the change was made in memory.
        await asyncio.to_thread(self.targets.save, self.targets.stored())


# ---------------------------------------------------------------------------------------------- the process


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the front door; the exit code is 1 when it can't listen."""
    parser = argparse.ArgumentParser(prog="sickbay-front-door", description="The local provider's load balancer.")
    parser.add_argument("--fleet", required=True)
    parser.add_argument("--state", required=True, type=Path)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--health-path", default="/healthz")
    parser.add_argument("--health-interval", type=float, default=1.0)
    parser.add_argument("--health-timeout", type=float, default=1.0)
    found = parser.parse_args(arguments)
    health = Health(found.health_path, found.health_interval, found.health_timeout)
    try:
        asyncio.run(serve(Layout.of(found.state, found.fleet), found.listen, health))
    except (OSError, ValueError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        print(f"{found.listen} is taken by another process" if taken else str(error), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
