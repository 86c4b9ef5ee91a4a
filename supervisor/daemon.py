"""The composition root: a checked configuration becomes real ports around one `Service`.

Starts, reloads on SIGHUP, stops on SIGTERM and SIGINT. Killing it changes nothing in the fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from supervisor.config import Config, load, peek_plugin_paths
from supervisor.core.model import Identity, Seconds
from supervisor.errors import ProviderError, SickbayError
from supervisor.plugins import Catalogue, discover, refuse_foreign_supervisor
from supervisor.ports import Chat, Cloud
from supervisor.runtime.checkhost import CheckHosts, CheckSpec
from supervisor.runtime.clock import SystemClock
from supervisor.runtime.notify import notify, watchdog_interval
from supervisor.runtime.service import Service
from supervisor.store import SqliteStore, Writer
from supervisor.surfaces.api import Api
from supervisor.surfaces.terminal import TerminalChat

log = structlog.get_logger()

SENTINEL_INTERVAL: Seconds = 1.0


def read_config(path: Path) -> tuple[Config, Catalogue]:
    """Find the plugins and check the file. Raises `ConfigError` and `PluginError`."""
    refuse_foreign_supervisor()
    catalogue = discover(peek_plugin_paths(path))
    return load(path, catalogue), catalogue


def configure_logs(*, quiet: bool) -> None:
    """Log to standard error: one JSON object a line, or in colour on a terminal; quiet keeps warnings only."""
    processors: list[Any] = [  # Any: structlog's own typing
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    on_terminal = sys.stderr.isatty()
    processors.append(structlog.dev.ConsoleRenderer() if on_terminal else structlog.processors.JSONRenderer())
    level = logging.WARNING if quiet else logging.INFO
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


class Daemon:
    """One running supervisor."""

    def __init__(self, config: Config, catalogue: Catalogue) -> None:
        """Take a checked configuration; `run` starts."""
        self.config = config
        self.catalogue = catalogue
        self.ready = asyncio.Event()
        self.hosts = CheckHosts(self._benched)
        self.clouds: dict[str, Cloud] = {}
        self._writer = Writer()
        self._uid = ""
        self._dropped: set[asyncio.Task[None]] = set()  # clouds of an earlier configuration, being closed
        self._service: Service | None = None

    @property
    def service(self) -> Service:
        """The running service. Only after `ready`."""
        if self._service is None:
            raise RuntimeError("the daemon has not started yet")
        return self._service

    async def run(self) -> None:
        """Run until cancelled. Raises what a start can't get over, in one sentence."""
        records = await self._writer.open(lambda: SqliteStore(self.config.state))
        try:
            self._uid = next(r.uid for r in records if isinstance(r, Identity))
            self.clouds = self._open_clouds(self.config, {})
            self._configure_hosts()
            service = self._service = Service(
                settings=self.config.settings,
                records=records,
                journal=self._writer,
                clouds=self.clouds,
                host=self.hosts,
                chats=self._chats(),
                clock=SystemClock(),
                kill_switch=self.config.state.parent / "pause",
            )
            api = Api(service.engine.ctx, service.loop.stable, service.ask, self._figures)
            await self._listen(api)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.hosts.run(), name="check hosts")
                    group.create_task(service.run(), name="service")
                    group.create_task(self._sentinels(), name="sentinels")
                    group.create_task(self._watchdog(), name="watchdog")
                    with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)
                    self.ready.set()
                    notify("READY=1", "STATUS=watching")
                    log.info("daemon.started", config=str(self.config.path), state=str(self.config.state))
            finally:
                notify("STOPPING=1")
                await service.close()
                await api.close()
        finally:
            for cloud in self.clouds.values():
                await cloud.close()
            await self._writer.close()

    async def _listen(self, api: Api) -> None:
        try:
            await api.listen(self.config.socket, self.config.listen)
        except OSError as error:
            where = f"{self.config.socket} or {self.config.listen}"
            raise SickbayError(f"can't listen on {where}: {error.strerror}; change `listen` or `socket`") from error

    def _chats(self) -> Mapping[str, Chat]:
        return {"terminal": TerminalChat()} if "terminal" in self.config.settings.surfaces else {}

    def _open_clouds(self, config: Config, old: Mapping[str, tuple[Any, Cloud]]) -> dict[str, Cloud]:  # Any: options
        opened: dict[str, Cloud] = {}
        for name, fleet in config.fleets.items():
            known = old.get(name)
            if known is not None and known[0] == (fleet.provider, fleet.options):
                opened[name] = known[1]
                continue
            provider = self.catalogue.providers[fleet.provider]
            try:
                opened[name] = provider.open(name, fleet.options, config.state.parent, self._uid)
            except ProviderError as error:
                raise ProviderError(f"{config.path}: fleet {name}: {error}") from error
        return opened

    def _configure_hosts(self) -> None:
        fleets = {
            name: [CheckSpec(c.name, c.kind, c.options, c.interval, c.timeout, c.builtin) for c in fleet.checks]
            for name, fleet in self.config.fleets.items()
        }
        self.hosts.configure(fleets, self.config.plugin_paths)

    def reload(self) -> None:
        """Take the file anew. A bad one is refused whole: the old configuration goes on, and people are told."""
        notify("RELOADING=1")
        try:
            config, catalogue = read_config(self.config.path)
            if (
                config.state != self.config.state
                or config.socket != self.config.socket
                or config.listen != self.config.listen
            ):
                raise SickbayError(f"{config.path}: `state`, `socket` and `listen` change only by a restart")
            old = {name: ((f.provider, f.options), self.clouds[name]) for name, f in self.config.fleets.items()}
            self.catalogue = catalogue
            clouds = self._open_clouds(config, old)
        except SickbayError as error:
            log.error("config.refused", error=str(error))
            self.service.notice("config.refused", f"the new configuration is refused, the old one goes on: {error}")
        else:
            for name, cloud in self.clouds.items():
                if clouds.get(name) is not cloud:
                    self._dropped.add(asyncio.create_task(cloud.close(), name=f"closing of {name}"))
            self.config, self.clouds = config, clouds
            self._configure_hosts()
            self.service.reload(config.settings, clouds)
            self.service.notice("config.loaded", f"{config.path.name} was read anew")
        notify("READY=1")

    def _benched(self, sentence: str) -> None:
        if self._service is not None:
            self._service.notice("plugin.benched", sentence)

    async def _sentinels(self) -> None:
        """Report what must work if we can see at all."""
        while True:
            await asyncio.sleep(SENTINEL_INTERVAL)
            prober = self.hosts.prober.stats
            self.service.report_sentinel(
                "prober", ok=prober.alive, detail="" if prober.alive else "it is being restarted"
            )

    async def _watchdog(self) -> None:
        """Feed systemd's watchdog while the loop turns and the prober lives."""
        interval = watchdog_interval()
        turns = -1
        while interval is not None:
            await asyncio.sleep(interval)
            service = self.service
            if service.loop.turns != turns and self.hosts.prober.stats.restarts < 1000:
                notify("WATCHDOG=1")
            turns = service.loop.turns

    def _figures(self) -> dict[str, Any]:  # Any: JSON
        service = self.service
        return {
            "config": str(self.config.path),
            "warnings": list(self.config.warnings),
            "store": {"commits": service.loop.commits, "refuses": service.loop.refused},
            "steps_under_way": service.executor.busy,
            "prober": {
                "alive": self.hosts.prober.stats.alive,
                "restarts": self.hosts.prober.stats.restarts,
                **self.hosts.prober.stats.last,
            },
        }


async def run(config: Config, catalogue: Catalogue) -> None:
    """Run a daemon until SIGTERM or SIGINT."""
    daemon = Daemon(config, catalogue)
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: task.cancel() if task else None)
    with contextlib.suppress(asyncio.CancelledError):
        await daemon.run()
    log.info("daemon.stopped")
