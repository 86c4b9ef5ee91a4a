"""Reads config.toml and checks all of it: what is raised names every mistake, one line each."""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.config.fleets import FleetConfig, Fleets
from supervisor.config.models import (
    AlertmanagerTable,
    ChatTable,
    ExplainingTable,
    GuardsTable,
    JudgementTable,
    MqttTable,
    PluginsTable,
    QuarantineTable,
    SentinelTable,
    SlackTable,
    SupervisorTable,
    to_core,
)
from supervisor.config.reading import Reading, show
from supervisor.core.duration import words
from supervisor.core.settings import Explaining, Guards, Judgement, Retention, Settings
from supervisor.core.terms import Seconds
from supervisor.errors import ConfigError
from supervisor.plugins import Catalogue

BUILT_IN = ("prober", "loopback")  # sentinels that are always there
LONGEST_SOCKET = 107  # bytes: what the kernel's sockaddr_un holds
TABLES = (
    "supervisor",
    "fleet",
    "sentinel",
    "judgement",
    "explaining",
    "guards",
    "quarantine",
    "chat",
    "mqtt",
    "alertmanager",
    "plugins",
)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole, good configuration."""

    path: Path
    settings: Settings
    state: Path
    socket: Path
    history: Path  # the folder
    history_kept: Seconds  # 0: none is kept
    history_size: int  # bytes, at most
    listen: tuple[str, int] | None
    plugin_paths: tuple[Path, ...]
    slack: SlackTable | None
    mqtt: MqttTable | None
    alertmanager: AlertmanagerTable
    url: str
    fleets: Mapping[str, FleetConfig]
    sentinels: tuple[SentinelTable, ...]
    warnings: tuple[str, ...]


def peek_plugin_paths(path: Path) -> tuple[Path, ...]:
    """Return the plugin folders that a file names: they must be known before the rest can be checked."""
    reader = _Reader(path)
    table = reader.model(PluginsTable, ("plugins",))
    # What is wrong with the table or its folders is told by `load`, together with everything else.
    return tuple(p for p in map(reader.relative, table.paths) if p.is_dir()) if table else ()


def peek_socket(path: Path) -> Path:
    """Return where the daemon of a file listens for the command line. Raises `ConfigError`.

    The file may be wrong elsewhere: after a reload that was refused, people need `status` more than ever.
    """
    reader = _Reader(path, part="supervisor")
    found = {key: value for key, value in reader.table(("supervisor",)).items() if key in ("state", "socket")}
    top = reader.model(SupervisorTable, ("supervisor",), found)
    state = reader.state(top.state) if top else None
    socket = reader.socket(top, state) if top and state else None
    reader.finish()
    if socket is None:
        raise ConfigError(f"{path}: can't be used")  # each None has told why; this line is never reached
    return socket


def load(path: Path, catalogue: Catalogue) -> Config:
    """Read and check a file. Raises `ConfigError` with one line for each thing that is wrong."""
    return _Reader(path).config(catalogue)


class _Reader(Reading):
    """The tables beside the fleets."""

    def config(self, catalogue: Catalogue) -> Config:
        """Check everything."""
        for name in sorted(self.raw.keys() - set(TABLES)):
            near = difflib.get_close_matches(name, TABLES, n=1)
            hint = f"did you mean [{near[0]}]?" if near else f"known: {', '.join(TABLES)}"
            self.wrong((name,), "", f"this table is not known; {hint}")
        top = self.model(SupervisorTable, ("supervisor",))
        judgement_table = self.model(JudgementTable, ("judgement",))
        explaining_table = self.model(ExplainingTable, ("explaining",))
        guards_table = self.model(GuardsTable, ("guards",))
        quarantine = self.model(QuarantineTable, ("quarantine",))
        chat = self.model(ChatTable, ("chat",))
        mqtt = self._mqtt() if "mqtt" in self.raw else None
        alertmanager = self.model(AlertmanagerTable, ("alertmanager",))
        plugins = self.model(PluginsTable, ("plugins",))
        speed = judgement_table.speed if judgement_table else 1.0
        judgement = to_core(judgement_table, Judgement, speed) if judgement_table else Judgement()
        explaining = to_core(explaining_table, Explaining, speed) if explaining_table else Explaining()
        guards = self._guards(to_core(guards_table, Guards, speed)) if guards_table else Guards()
        for key, rate in (("sick_rate", judgement.sick_rate), ("gray_rate", judgement.gray_rate)):
            if rate <= judgement.blip_rate:
                self.wrong(("judgement", key), str(rate), f"expected more than blip_rate ({judgement.blip_rate})")
        if quarantine and quarantine.retention < quarantine.running:
            self.wrong(
                ("quarantine", "retention"),
                words(quarantine.retention.total_seconds()),
                f"expected at least `running` ({words(quarantine.running.total_seconds())})",
            )
        for place, folder in enumerate(plugins.paths if plugins else ()):
            if not self.relative(folder).is_dir():
                self.wrong(("plugins", "paths", place), show(folder), "is not a folder; make it, or take it out")
        state = self.state(top.state) if top else None
        socket = self.socket(top, state) if top and state else None
        listen = self._listen(top.listen) if top else None
        fleets_of = Fleets(self, catalogue)
        if top and listen:
            fleets_of.claim(top.listen, "[supervisor] listen")
        fleets = fleets_of.read(top)
        sentinels = self._sentinels()
        if not self.raw.get("fleet", {}):
            self.wrong(("fleet",), "", "no fleet is configured; add a table [fleet.NAME]")
        self.finish()
        if top is None or state is None or socket is None or quarantine is None or plugins is None or chat is None:
            raise ConfigError(f"{self.path}: can't be used")  # each None has told why; this line is never reached
        return Config(
            path=self.path,
            settings=Settings(
                mode=top.mode,
                fleets={name: f.policy for name, f in fleets.items()},
                judgement=judgement,
                explaining=explaining,
                guards=guards,
                retention=Retention(
                    running=quarantine.running.total_seconds(),
                    kept=quarantine.retention.total_seconds(),
                    notice=quarantine.notice.total_seconds(),
                    snapshots=quarantine.snapshots.total_seconds(),
                ),
                surfaces=tuple(name for name in ChatTable.model_fields if getattr(chat, name) is not None),
            ),
            state=state,
            socket=socket,
            history=state.parent / "history",
            history_kept=top.history.total_seconds(),
            history_size=top.history_size,
            listen=listen,
            plugin_paths=tuple(self.relative(p) for p in plugins.paths),
            slack=chat.slack,
            mqtt=mqtt,
            alertmanager=alertmanager or AlertmanagerTable(),
            url=top.url,
            fleets=fleets,
            sentinels=sentinels,
            warnings=tuple(self.warnings),
        )

    def _mqtt(self) -> MqttTable | None:
        table = self.model(MqttTable, ("mqtt",))
        if table is None:
            return None
        paths = {
            key: self.relative(text) if (text := getattr(table, key)) else None for key in ("ca_file", "certificate")
        }
        for key, path in paths.items():
            if path is not None and not path.is_file():
                self.wrong(("mqtt", key), show(getattr(table, key)), "is not a file; put the certificate there, as PEM")
        return table.model_copy(update={key: str(path) for key, path in paths.items() if path is not None})

    def _sentinels(self) -> tuple[SentinelTable, ...]:
        tables = self.raw.get("sentinel", [])
        if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
            self.wrong(("sentinel",), show(tables), "expected tables [[sentinel]]")
            return ()
        made: list[SentinelTable] = []
        for place, table in enumerate(tables):
            found = self.model(SentinelTable, ("sentinel", place), table)
            if found is None:
                continue
            if found.name in BUILT_IN or any(other.name == found.name for other in made):
                self.wrong(
                    ("sentinel", place, "name"),
                    show(found.name),
                    f"two sentinels have this name ({' and '.join(BUILT_IN)} are built in); rename one",
                )
            made.append(found)
        return tuple(made)

    def _guards(self, guards: Guards) -> Guards:
        if guards.lb_floor > guards.serving_floor:
            self.wrong(
                ("guards", "lb_floor"), str(guards.lb_floor), f"expected at most serving_floor ({guards.serving_floor})"
            )
        return guards

    def state(self, text: str) -> Path | None:
        """Return the path of the state file."""
        scheme, found, rest = text.partition(":///")
        if scheme != "sqlite" or not found or not rest:
            self.wrong(("supervisor", "state"), show(text), 'expected "sqlite:///ABSOLUTE/PATH/state.db"')
            return None
        if rest.startswith(("./", "../")):
            return self.relative(rest)
        return Path("/" + rest.lstrip("/"))

    def socket(self, top: SupervisorTable, state: Path) -> Path | None:
        """Return where the command line finds the daemon: beside the state file, unless told otherwise."""
        path = self.relative(top.socket) if top.socket else state.parent / "sickbay.sock"
        size = len(os.fsencode(path))
        if size > LONGEST_SOCKET:
            self.wrong(
                ("supervisor", "socket" if top.socket else "state"),
                f"{size} bytes as {path}" if top.socket else "",
                f"the path of a unix socket has at most {LONGEST_SOCKET} bytes{'' if top.socket else f', {path} has {size}'}; set a shorter `socket`",
            )
            return None
        return path

    def _listen(self, text: str) -> tuple[str, int] | None:
        if not text:
            return None
        host, _, port = text.rpartition(":")
        try:
            loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
            number = int(port)
        except ValueError:
            self.wrong(
                ("supervisor", "listen"), show(text), 'expected ADDRESS:PORT such as "127.0.0.1:8750", or "" for off'
            )
            return None
        if not 1 <= number <= 65535:
            self.wrong(("supervisor", "listen"), show(text), "expected a port from 1 to 65535")
            return None
        if not loopback:
            self.wrong(
                ("supervisor", "listen"),
                show(text),
                "expected a loopback address: other listeners need TLS and a token",
            )
            return None
        return host.strip("[]"), number
