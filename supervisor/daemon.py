"""The composition root: a checked configuration becomes real ports around one `Service`.

Starts, reloads on SIGHUP, stops on SIGTERM and SIGINT. Killing it changes nothing in the fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from ssl import SSLContext

import structlog

from supervisor import __version__
from supervisor.api import Instance, Report
from supervisor.config import Config, load, peek_plugin_paths
from supervisor.config.models import SentinelTable
from supervisor.core.documents import FiguresDoc, SurfaceDoc
from supervisor.core.machine import Offer
from supervisor.core.model import Identity, Offering
from supervisor.core.settings import Settings
from supervisor.core.signals import AskNow, HeartbeatsDeaf, HeartbeatsReported, SelfReported, SentinelReported
from supervisor.core.terms import Seconds
from supervisor.errors import CloudSilent, ConfigError, ProviderError, SickbayError
from supervisor.plugins import Catalogue, discover, read_sources, refuse_foreign_supervisor
from supervisor.ports import Chat, Cloud
from supervisor.runtime.alertmanager import Alertmanager, AlertmanagerSpec
from supervisor.runtime.auditwatch import AuditWatch
from supervisor.runtime.calendar import Calendar
from supervisor.runtime.checkhost import CheckHosts, CheckSpec
from supervisor.runtime.clock import SystemClock
from supervisor.runtime.ears import Ears
from supervisor.runtime.garbage import keep_short
from supervisor.runtime.notify import notify, watchdog_interval
from supervisor.runtime.rehearsal import rehearse
from supervisor.runtime.reports import Reports
from supervisor.runtime.sentinels import Sentinels, SentinelSpec
from supervisor.runtime.service import Service
from supervisor.store import AuditFile, HistoryFiles, SqliteStore, Writer
from supervisor.surfaces.access import load_certificate, rules
from supervisor.surfaces.chats import open_chats
from supervisor.surfaces.listen import take
from supervisor.surfaces.metrics import Metrics
from supervisor.surfaces.mqtt import Broker, listen, open_broker
from supervisor.surfaces.web import Server

log = structlog.get_logger()

OFFER_LIMIT: Seconds = 60.0


def read_config(path: Path) -> tuple[Config, Catalogue]:
    """Find the plugins and check the file. Raises `ConfigError` and `PluginError`."""
    refuse_foreign_supervisor()
    catalogue = discover(peek_plugin_paths(path))
    return load(path, catalogue), catalogue


class Daemon:
    """One running supervisor."""

    def __init__(self, config: Config, catalogue: Catalogue) -> None:
        """Take a checked configuration; `run` starts."""
        self.config = config
        self.catalogue = catalogue
        self.ready = asyncio.Event()
        self.hosts = CheckHosts(self._benched, self._reported)
        self.sentinels = Sentinels(self._report, self.hosts.prober.stats, self.hosts.prober.listen_at)
        self.clouds: dict[str, Cloud] = {}
        self._writer = Writer()
        self._uid = ""
        self._chats: dict[str, Chat] = {}
        self._refused: tuple[str, ...] = ()  # why the file on disk is not the configuration that runs
        self._dropped: set[asyncio.Task[None]] = set()  # ports of an earlier configuration, being closed
        self._reload_wanted = False
        self._reloading: asyncio.Task[None] | None = None
        self._service: Service | None = None
        self._tls: SSLContext | None = None
        self._watch = AuditWatch(AuditFile(config.state))
        self._reports: Reports | None = None
        self._calendar: Calendar | None = None
        self.ears = Ears(self._fleet_of, self._ask_now, self._report, self._notice)
        self._server: Server | None = None
        self.alertmanager = Alertmanager(lambda: self._reports.names() if self._reports is not None else {})

    @property
    def service(self) -> Service:
        """The running service. Only after `ready`."""
        if self._service is None:
            raise RuntimeError("the daemon has not started yet")
        return self._service

    async def run(self) -> None:
        """Run until cancelled. Raises what a start can't get over, in one sentence."""
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            # From the beginning: without a handler, a reload in the first second would end the daemon.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self._writer.close)
            records = await self._writer.open(lambda: SqliteStore(self.config.state))
            undo.push_async_callback(self._close_ports)
            self._uid = next(r.uid for r in records if isinstance(r, Identity))
            # Nothing is touched before every address is ours: whoever has one of them goes on undisturbed.
            allowed, tls = rules(self.config), load_certificate(self.config)
            taken = take(self.config.socket, self.config.listen, allowed.operators)
            undo.callback(taken.close)
            self._chats = open_chats(self.config)
            token = alert_token(self.config)
            self.clouds = self._open_clouds(self.config, {})
            kept = {r.fleet: r for r in records if isinstance(r, Offering)}
            settings = await resolved(self.config, self.clouds, kept)
            self._configure_hosts()
            service = self._service = Service(
                settings=settings,
                records=records,
                journal=self._writer,
                clouds=self.clouds,
                host=self.hosts,
                chats=self._chats,
                clock=SystemClock(),
                kill_switch=self.config.state.parent / "pause",
                pen=HistoryFiles(self.config.history, self.config.history_kept, self.config.history_size)
                if self.config.history_kept
                else None,
            )
            self._reports = Reports(service.engine.ctx, self.alertmanager.of, self.ears.said)
            self._listen_to(open_broker(self.config, self._uid))
            keep_short()
            metrics = Metrics(
                service, {"prober": self.hosts.prober.stats, "plugins": self.hosts.plugins.stats}, self.ears
            )
            service.listeners.append(metrics.listen)
            self._calendar = Calendar(service.inbox.put)
            undo.callback(self._calendar.close)
            self._calendar.use(self.config.digest, self.config.time_zone)
            server = self._server = Server(
                service.engine.ctx,
                service.loop.stable,
                service.ask,
                self._figures,
                metrics.render,
                self._watch.audit,
                allowed,
                ready=self._unready,
                measured=service.measured,
                alerts=self.alertmanager.take,
            )
            server.alerting.use(token)
            self._tls = tls
            service.listeners.append(server.events.publish)
            await server.listen(taken, tls)
            await self._live(service, server)

    async def _live(self, service: Service, server: Server) -> None:
        """Keep every part going, until cancelled or until one of them fails."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.hosts.run(), name="check hosts")
                group.create_task(service.run(), name="service")
                group.create_task(self.sentinels.run(), name="sentinels")
                group.create_task(self.ears.run(), name="ears")
                group.create_task(self.alertmanager.run(), name="alertmanager")
                group.create_task(self._watchdog(), name="watchdog")
                group.create_task(self._watch.run(service.notice), name="audit")
                self.ready.set()
                notify("READY=1", "STATUS=watching")
                log.info("daemon.started", config=str(self.config.path), state=str(self.config.state))
                if self._reload_wanted:  # asked for before there was anything to reload
                    self.reload()
        finally:
            if self._reloading is not None:
                self._reloading.cancel()
            notify("STOPPING=1")
            await service.close()
            await server.close()

    async def _close_ports(self) -> None:
        for cloud in self.clouds.values():
            await cloud.close()
        for chat in self._chats.values():
            await chat.close()

    def _open_clouds(self, config: Config, old: Mapping[str, tuple[str, Cloud]]) -> dict[str, Cloud]:
        """Return a cloud for each fleet, those that did not change as they are. Raises `ProviderError`: all or none."""
        opened: dict[str, Cloud] = {}
        refused: list[str] = []
        for name, fleet in config.fleets.items():
            known = old.get(name)
            if known is not None and known[0] == fleet.policy.terms:
                opened[name] = known[1]
                continue
            provider = self.catalogue.providers[fleet.provider]
            try:
                opened[name] = provider.open(name, fleet.options, fleet.policy.version, config.state.parent, self._uid)
            except ProviderError as error:
                refused.append(f"{config.path}: fleet {name}: {error}")
        if refused:
            self._drop(opened, self.clouds)
            raise ProviderError("\n".join(refused))
        return opened

    def _drop(self, old: Mapping[str, Cloud | Chat], new: Mapping[str, Cloud | Chat]) -> None:
        """Close what the new configuration no longer uses."""
        for name, port in old.items():
            if new.get(name) is not port:
                task = asyncio.create_task(port.close(), name=f"closing of {name}")
                self._dropped.add(task)
                task.add_done_callback(self._dropped.discard)

    def _configure_hosts(self) -> None:
        fleets = {
            name: [
                CheckSpec(c.name, c.kind, c.options, c.interval, c.timeout, c.builtin, c.passive) for c in fleet.checks
            ]
            for name, fleet in self.config.fleets.items()
        }
        self.hosts.configure(fleets, self.catalogue.sources)
        self.sentinels.configure(
            [sentinel(table) for table in self.config.sentinels],
            [check.interval for fleet in self.config.fleets.values() for check in fleet.checks],
        )
        table = self.config.alertmanager
        self.alertmanager.configure(
            AlertmanagerSpec(
                table.instance_label, table.url, table.interval.total_seconds(), table.keep.total_seconds()
            )
        )

    def reload(self) -> None:
        """Take the file anew. A bad one is refused whole: the old configuration goes on, and people are told."""
        self._reload_wanted = True
        if self.ready.is_set() and self._reloading is None:
            self._reloading = asyncio.create_task(self._reload(), name="reload")

    async def _reload(self) -> None:
        while self._reload_wanted:
            self._reload_wanted = False
            await self._reload_once()
        self._reloading = None

    async def _reload_once(self) -> None:
        notify("RELOADING=1")
        before = self.config, self.catalogue, self.clouds, self._chats
        try:
            await self._take_anew()
        except Exception as error:  # noqa: BLE001  # a plugin's code may raise anything: what runs goes on
            self.config, self.catalogue, self.clouds, self._chats = before
            why = str(error) if isinstance(error, SickbayError) else f"{type(error).__name__}: {error}"
            self._refused = tuple(why.splitlines())
            log.error("config.refused", error=why)
            told = "; ".join(self._refused)
            self.service.notice("config.refused", f"the new configuration is refused, the old one goes on: {told}")
        else:
            self._refused = ()
            self.service.notice("config.loaded", f"{self.config.path.name} was read anew")
        notify("READY=1")

    async def _take_anew(self) -> None:
        folders = peek_plugin_paths(self.config.path)
        if folders:
            await rehearse(self.config.path, self.catalogue.sources, read_sources(folders))
        config, self.catalogue = read_config(self.config.path)
        self._refuse_moves(config)
        allowed = rules(config)
        old = {name: (f.policy.terms, self.clouds[name]) for name, f in self.config.fleets.items()}
        token = alert_token(config)
        chats = open_chats(config, self.config, self._chats)
        broker = open_broker(config, self._uid)
        clouds = self._open_clouds(config, old)
        try:
            kept = {r.fleet: r for r in self.service.engine.ctx.world.all(Offering)}
            settings = await resolved(config, clouds, kept)
        except ProviderError:
            self._drop(clouds, self.clouds)
            raise
        load_certificate(config, self._tls)  # the last that may be refused: new connections are shown the new one
        used = self.clouds, self._chats
        self.config, self.clouds, self._chats = config, clouds, chats
        self._configure_hosts()
        if self._server is not None:
            self._server.gate.rules = allowed
            self._server.alerting.use(token)
        self.service.reload(settings, clouds, chats)
        if self._calendar is not None:
            self._calendar.use(config.digest, config.time_zone)
        self._listen_to(broker)
        self._drop(used[0], clouds)
        self._drop(used[1], chats)

    def _refuse_moves(self, config: Config) -> None:
        """Refuse what only a restart can change."""
        now = self.config
        moves = {
            ("supervisor", "state"): (now.state, config.state),
            ("supervisor", "socket"): (now.socket, config.socket),
            ("supervisor", "listen"): (_address(now.listen), _address(config.listen)),
            ("access", "operators"): (_shown(now.access.operators), _shown(config.access.operators)),
            ("access", "certificate"): (_shown(now.access.certificate), _shown(config.access.certificate)),
        }
        moved = [
            f"{config.path}: [{table}] {key} = {new} — this daemon runs with {old}; restart it to change `{key}`"
            for (table, key), (old, new) in moves.items()
            if old != new
        ]
        if moved:
            raise ConfigError("\n".join(moved))

    def _benched(self, sentence: str) -> None:
        self._notice("plugin.benched", sentence)

    def _notice(self, kind: str, text: str) -> None:
        if self._service is not None:
            self._service.notice(kind, text)

    def _listen_to(self, broker: Broker | None) -> None:
        """Hear the machines' signs of life from this broker on; from one that is the same, as before."""
        if broker is None:
            self.ears.use(None, "", None)
        else:
            self.ears.use(broker, broker.root, partial(listen, broker))

    def _fleet_of(self, instance: str) -> str | None:
        chart = self.service.engine.ctx.charts.get(instance)
        return None if chart is None else chart.fleet

    def _ask_now(self, instance: str) -> None:
        self.hosts.apply([AskNow((instance,))])

    def _reported(self, instance: Instance) -> Report:
        return self._reports.of(instance) if self._reports is not None else Report()

    def _report(self, signal: SentinelReported | SelfReported | HeartbeatsReported | HeartbeatsDeaf) -> None:
        if self._service is not None:
            self._service.report(signal)

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
        deaf = service.deaf()
        surfaces: list[SurfaceDoc] = [
            {"name": name, "waiting": len(service.outbox.waiting(name)), "trouble": trouble or deaf.get(name, "")}
            for name, trouble in service.outbox.troubles().items()
        ]
        if self.config.mqtt is not None:
            surfaces.append({"name": "mqtt", "waiting": 0, "trouble": self.ears.deaf})
        return {
            "version": __version__,
            "config": str(self.config.path),
            "config_refused": list(self._refused),
            "warnings": [*self.config.warnings, *self._watch.broken],
            "store": {"commits": service.loop.commits, "refuses": service.loop.refused},
            "steps_under_way": service.executor.busy,
            "surfaces": surfaces,
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


def alert_token(config: Config) -> str:
    """Return what Alertmanager's webhook must say on loopback, '' for none. Raises `ConfigError`."""
    token = config.alertmanager.token
    return "" if token is None else token.read(f"{config.path}: [alertmanager] token").get_secret_value()


def sentinel(table: SentinelTable) -> SentinelSpec:
    """Return a configured sentinel as it is asked."""
    host, _, port = (table.address or ":0").rpartition(":")
    return SentinelSpec(
        name=table.name,
        sense=table.sense,
        of=table.of or "",
        interval=table.interval.total_seconds(),
        timeout=table.timeout.total_seconds(),
        url=table.url or "",
        host=host.strip("[]"),
        port=int(port),
    )


async def resolved(config: Config, clouds: Mapping[str, Cloud], kept: Mapping[str, Offering]) -> Settings:
    """Return the settings with what each fleet is launched from.

    A cloud that does not answer offers what it did the last time, if the configuration asks for the same. Raises
    `ProviderError` for what was never offered: `CloudSilent` where another try may help.
    """
    fleets = dict(config.settings.fleets)
    refused: dict[str, ProviderError] = {}
    for name, fleet in config.fleets.items():
        if fleet.policy.image:
            continue
        try:
            fleets[name] = fleet.policy.resolved(await _offered(clouds[name]))
        except ProviderError as error:
            last = kept.get(name)
            if last is None or last.terms != fleet.policy.terms:
                refused[f"{config.path}: fleet {name}: {error}"] = error
                continue
            log.warning("offer.kept", fleet=name, error=str(error), seen_at=last.seen_at.isoformat())
            fleets[name] = fleet.policy.resolved(last.offer)
    if refused:
        silent = all(isinstance(error, CloudSilent) for error in refused.values())
        raise (CloudSilent if silent else ProviderError)("\n".join(refused))
    return replace(config.settings, fleets=fleets)


async def _offered(cloud: Cloud) -> Offer:
    try:
        async with asyncio.timeout(OFFER_LIMIT):
            return await cloud.offer()
    except TimeoutError:
        raise CloudSilent(f"the cloud has not said within {OFFER_LIMIT:.0f}s what is launched") from None


def _address(listen: tuple[str, int] | None) -> str:
    return '""' if listen is None else f"{listen[0]}:{listen[1]}"


def _shown(text: str) -> str:
    return text or '""'


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
