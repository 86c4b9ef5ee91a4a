"""The composition root: a checked configuration becomes real ports around one `Service`.

Starts, reloads on SIGHUP, stops on SIGTERM and SIGINT. Killing it changes nothing in the fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import structlog

from supervisor import __version__
from supervisor.config import Config, SlackTable, load, peek_plugin_paths
from supervisor.core.documents import FiguresDoc
from supervisor.core.model import Identity, Seconds
from supervisor.errors import ConfigError, ProviderError, SickbayError
from supervisor.plugins import Catalogue, discover, refuse_foreign_supervisor
from supervisor.ports import Chat, Cloud
from supervisor.runtime.checkhost import CheckHosts, CheckSpec
from supervisor.runtime.clock import SystemClock
from supervisor.runtime.notify import notify, watchdog_interval
from supervisor.runtime.service import Service
from supervisor.store import SqliteStore, Writer
from supervisor.surfaces.metrics import Metrics
from supervisor.surfaces.terminal import TerminalChat
from supervisor.surfaces.web import Server

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
        self.hosts = CheckHosts()
        self.clouds: dict[str, Cloud] = {}
        self._writer = Writer()
        self._uid = ""
        self._chats: dict[str, Chat] = {}
        self._dropped: set[asyncio.Task[None]] = set()  # ports of an earlier configuration, being closed
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
            self._chats = self._open_chats(self.config)
            self.clouds = self._open_clouds(self.config, {})
            self._configure_hosts()
            service = self._service = Service(
                settings=self.config.settings,
                records=records,
                journal=self._writer,
                clouds=self.clouds,
                host=self.hosts,
                chats=self._chats,
                clock=SystemClock(),
                kill_switch=self.config.state.parent / "pause",
            )
            metrics = Metrics(service, {"prober": self.hosts.prober.stats, "plugins": self.hosts.plugins.stats})
            service.listeners.append(metrics.listen)
            server = Server(
                service.engine.ctx,
                service.loop.stable,
                service.ask,
                self._figures,
                metrics.render,
                ready=self._unready,
                url=self.config.url,
            )
            service.listeners.append(server.events.publish)
            await self._listen(server)
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
                await server.close()
        finally:
            for cloud in self.clouds.values():
                await cloud.close()
            for chat in self._chats.values():
                await chat.close()
            await self._writer.close()

    async def _listen(self, server: Server) -> None:
        try:
            await server.listen(self.config.socket, self.config.listen)
        except OSError as error:
            where = f"{self.config.socket} or {self.config.listen}"
            raise SickbayError(f"can't listen on {where}: {error.strerror}; change `listen` or `socket`") from error

    def _open_chats(self, config: Config, old: Config | None = None) -> dict[str, Chat]:
        """Open the surfaces of a configuration; one whose table stayed the same is kept. Raises `SickbayError`."""
        opened: dict[str, Chat] = {}
        if "terminal" in config.settings.surfaces:
            opened["terminal"] = self._chats.get("terminal") or TerminalChat()
        if config.slack is not None:
            same = old is not None and (old.slack, old.url) == (config.slack, config.url)
            opened["slack"] = self._chats["slack"] if same else _open_slack(config, config.slack)
        return opened

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
            chats = self._open_chats(config, self.config)
            self.catalogue = catalogue
            clouds = self._open_clouds(config, old)
        except SickbayError as error:
            log.error("config.refused", error=str(error))
            self.service.notice("config.refused", f"the new configuration is refused, the old one goes on: {error}")
        else:
            self._drop(self.clouds, clouds)
            self._drop(self._chats, chats)
            self.config, self.clouds, self._chats = config, clouds, chats
            self._configure_hosts()
            self.service.reload(config.settings, clouds, chats)
            self.service.notice("config.loaded", f"{config.path.name} was read anew")
        notify("READY=1")

    def _drop(self, old: Mapping[str, Cloud | Chat], new: Mapping[str, Cloud | Chat]) -> None:
        """Close what the new configuration no longer uses."""
        for name, port in old.items():
            if new.get(name) is not port:
                task = asyncio.create_task(port.close(), name=f"closing of {name}")
                self._dropped.add(task)
                task.add_done_callback(self._dropped.discard)

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

    def _unready(self) -> str:
        """Say why nothing can be watched or done, '' when it can."""
        if self.service.loop.refused:
            return "the state file refuses commits"
        return "" if self.hosts.prober.stats.alive else "the prober is being restarted"

    def _figures(self) -> FiguresDoc:
        service, prober = self.service, self.hosts.prober.stats
        return {
            "version": __version__,
            "config": str(self.config.path),
            "warnings": list(self.config.warnings),
            "store": {"commits": service.loop.commits, "refuses": service.loop.refused},
            "steps_under_way": service.executor.busy,
            "surfaces": [
                {"name": name, "waiting": len(service.outbox.waiting(name)), "trouble": trouble}
                for name, trouble in service.outbox.troubles().items()
            ],
            "prober": {
                "alive": prober.alive,
                "restarts": prober.restarts,
                "started": prober.last.get("started", 0),
                "missed": prober.last.get("missed", 0),
                "in_flight": prober.last.get("in_flight", 0),
                "lag_p50": prober.last.get("lag_p50", 0.0),
                "lag_p99": prober.last.get("lag_p99", 0.0),
                "lag_max": prober.last.get("lag_max", 0.0),
            },
        }


def _open_slack(config: Config, table: SlackTable) -> Chat:
    try:
        slack = importlib.import_module("supervisor.surfaces.slack")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{config.path}: [chat.slack] needs {error.name}, which is not installed; run `pip install 'sickbay[slack]'`"
        ) from error
    if table.token is not None:
        token = table.token.read(f"{config.path}: [chat.slack] token").get_secret_value()
        return cast(Chat, slack.SlackChat(token, table.channel, api_url=table.api_url, page=config.url))
    if table.webhook is not None:
        hook = table.webhook.read(f"{config.path}: [chat.slack] webhook").get_secret_value()
        return cast(Chat, slack.WebhookChat(hook, page=config.url))
    raise ConfigError(f"{config.path}: [chat.slack] has neither token nor webhook; give it one")


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
