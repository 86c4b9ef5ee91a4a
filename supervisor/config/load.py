"""Reads config.toml and checks all of it. Every error is one line: file, line, table, key, found, expected."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from supervisor.api import Check, Remediation
from supervisor.config.misread import misread
from supervisor.config.models import (
    NAME,
    ChatTable,
    CheckKeys,
    FleetKeys,
    GuardsTable,
    JudgementTable,
    PluginsTable,
    QuarantineTable,
    SlackTable,
    SupervisorTable,
    to_core,
)
from supervisor.config.source import Table, read_source
from supervisor.core.duration import words
from supervisor.core.model import Mode, Role
from supervisor.core.settings import (
    CheckPolicy,
    FleetPolicy,
    Guards,
    Judgement,
    RemediationPolicy,
    Retention,
    Settings,
)
from supervisor.core.text import clean
from supervisor.errors import ConfigError, ProviderError
from supervisor.plugins import Catalogue

M = TypeVar("M", bound=BaseModel)
MOST_TOLD = 50  # mistakes: a file with more of them is another file
LONGEST_SOCKET = 107  # bytes: what the kernel's sockaddr_un holds
UNION = ("str", "dict[str,any]")  # how pydantic names the members of a union
TABLES = ("supervisor", "fleet", "judgement", "guards", "quarantine", "chat", "plugins")


@dataclass(frozen=True, slots=True)
class ConfiguredCheck:
    """One check of a fleet, as a check host needs it."""

    name: str
    kind: str
    options: Mapping[str, Any]  # Any: the kind's own keys
    role: Role
    interval: float
    timeout: float
    builtin: bool  # whether the prober runs it; else the plugin host


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """One fleet, as the shell needs it."""

    policy: FleetPolicy
    provider: str
    options: BaseModel
    checks: tuple[ConfiguredCheck, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A whole, good configuration."""

    path: Path
    settings: Settings
    state: Path
    socket: Path
    listen: tuple[str, int] | None
    plugin_paths: tuple[Path, ...]
    slack: SlackTable | None
    url: str
    fleets: Mapping[str, FleetConfig]
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


class _Reader:
    """One reading of one file; collects everything that is wrong before it raises."""

    def __init__(self, path: Path, part: str = "") -> None:
        self.path = path
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.claimed: dict[str, str] = {}  # addresses, and who has them
        source = read_source(path, part)
        self.raw, self.lines = source.table, source.lines

    # -- telling what is wrong

    def wrong(self, path: tuple[str | int, ...], found: str, expected: str) -> None:
        """Note one error at a key."""
        line = self.lines.of(path)
        place = f"{self.path}:{line}" if line else str(self.path)
        names = [str(p) for p in path if not isinstance(p, int)]
        table, key = (".".join(names[:-1]), names[-1]) if len(names) > 1 else ("", ".".join(names))
        where = f"[{table}] {key}" if table else f"[{key}]"
        self.errors.append(clean(f"{place}: {where}{' = ' + found if found else ''} — {expected}"))

    def finish(self) -> None:
        """Raise what was collected."""
        if self.errors:
            more = len(self.errors) - MOST_TOLD
            told = [*self.errors[:MOST_TOLD], f"{self.path}: {more} more mistakes; mend these first"]
            raise ConfigError("\n".join(told if more > 0 else self.errors))

    def relative(self, text: str) -> Path:
        """Return a path, relative ones being relative to the file's folder."""
        return (self.path.parent / text).resolve()

    def table(self, path: tuple[str, ...]) -> Table:
        """Return a table of the file, empty when it is not there."""
        found: Any = self.raw  # Any: what TOML holds
        for name in path:
            found = found.get(name, {}) if isinstance(found, dict) else {}
        if not isinstance(found, dict):
            self.wrong(path, _show(found), "expected a table")
            return {}
        return found

    def model(self, model: type[M], path: tuple[str | int, ...], data: Table | None = None) -> M | None:
        """Check one table against its model, and that nothing was read as what it is not."""
        if data is None:
            data = self.table(tuple(str(p) for p in path))
        made = None
        try:
            made = model.model_validate(data)
            found = misread(model, data)
        except ValidationError as error:
            found = error.errors(include_url=False)
        typed = {m for e in found if e["type"] == "extra_forbidden" for m in _near(e["loc"][-1], model)}
        told: set[tuple[str | int, ...]] = set()
        for e in found:
            if e["type"] == "missing" and e["loc"][-1] in typed:
                continue  # the same mistake: the key is there, misspelt
            # A union complains once for each of its members, at a place that is not in the file.
            union = [n for n, p in enumerate(e["loc"]) if p in UNION and e["type"] != "extra_forbidden"]
            where = e["loc"][: union[0] if union else None]
            if where not in told:
                told.add(where)
                self._explain((*path, *where), e["type"], e["msg"], e.get("input"), model)
        return None if found else made

    def _explain(
        self, path: tuple[str | int, ...], kind: str, message: str, found: object, model: type[BaseModel]
    ) -> None:
        if kind == "extra_forbidden":
            near = _near(path[-1], model)
            known = (
                f"did you mean `{near[0]}`?" if near else f"known: {', '.join(sorted(model.model_fields)) or 'none'}"
            )
            self.wrong(path, "", f"this key is not known; {known}")
        elif kind == "missing":
            self.wrong(path, "", "this key is missing; every such table needs it")
        else:
            self.wrong(path, _show(found), _expected(message))

    # -- the file

    def config(self, catalogue: Catalogue) -> Config:
        """Check everything."""
        for name in sorted(self.raw.keys() - set(TABLES)):
            near = difflib.get_close_matches(name, TABLES, n=1)
            hint = f"did you mean [{near[0]}]?" if near else f"known: {', '.join(TABLES)}"
            self.wrong((name,), "", f"this table is not known; {hint}")
        top = self.model(SupervisorTable, ("supervisor",))
        judgement_table = self.model(JudgementTable, ("judgement",))
        guards_table = self.model(GuardsTable, ("guards",))
        quarantine = self.model(QuarantineTable, ("quarantine",))
        chat = self.model(ChatTable, ("chat",))
        plugins = self.model(PluginsTable, ("plugins",))
        speed = judgement_table.speed if judgement_table else 1.0
        judgement = to_core(judgement_table, Judgement, speed) if judgement_table else Judgement()
        guards = self._guards(to_core(guards_table, Guards, speed)) if guards_table else Guards()
        if judgement.sick_rate <= judgement.blip_rate:
            self.wrong(
                ("judgement", "sick_rate"),
                str(judgement.sick_rate),
                f"expected more than blip_rate ({judgement.blip_rate})",
            )
        if quarantine and quarantine.retention < quarantine.running:
            self.wrong(
                ("quarantine", "retention"),
                words(quarantine.retention.total_seconds()),
                f"expected at least `running` ({words(quarantine.running.total_seconds())})",
            )
        for place, folder in enumerate(plugins.paths if plugins else ()):
            if not self.relative(folder).is_dir():
                self.wrong(("plugins", "paths", place), _show(folder), "is not a folder; make it, or take it out")
        state = self.state(top.state) if top else None
        socket = self.socket(top, state) if top and state else None
        listen = self._listen(top.listen) if top else None
        if top and listen:
            self.claimed[top.listen] = "[supervisor] listen"
        fleets = self._fleets(catalogue, top)
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
                guards=guards,
                retention=Retention(quarantine.running.total_seconds(), quarantine.retention.total_seconds()),
                surfaces=tuple(name for name in ChatTable.model_fields if getattr(chat, name) is not None),
            ),
            state=state,
            socket=socket,
            listen=listen,
            plugin_paths=tuple(self.relative(p) for p in plugins.paths),
            slack=chat.slack,
            url=top.url,
            fleets=fleets,
            warnings=tuple(self.warnings),
        )

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
            self.wrong(("supervisor", "state"), _show(text), 'expected "sqlite:///ABSOLUTE/PATH/state.db"')
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
                ("supervisor", "listen"), _show(text), 'expected ADDRESS:PORT such as "127.0.0.1:8750", or "" for off'
            )
            return None
        if not 1 <= number <= 65535:
            self.wrong(("supervisor", "listen"), _show(text), "expected a port from 1 to 65535")
            return None
        if not loopback:
            self.wrong(
                ("supervisor", "listen"),
                _show(text),
                "expected a loopback address: other listeners need TLS and a token",
            )
            return None
        return host.strip("[]"), number

    # -- fleets

    def _fleets(self, catalogue: Catalogue, top: SupervisorTable | None) -> dict[str, FleetConfig]:
        made: dict[str, FleetConfig] = {}
        for name, data in self.table(("fleet",)).items():
            path = ("fleet", name)
            if not re.fullmatch(NAME, name):
                self.wrong(path, "", "expected a name of at most 63 letters, digits, '_' and '-'")
                continue
            if not isinstance(data, dict):
                self.wrong(path, _show(data), "expected a table")
                continue
            fleet = self._fleet(name, dict(data), catalogue, top)
            if fleet is not None:
                made[name] = fleet
        return made

    def _fleet(self, name: str, data: Table, catalogue: Catalogue, top: SupervisorTable | None) -> FleetConfig | None:
        path = ("fleet", name)
        before = len(self.errors)
        checks = data.pop("check", [])
        provider_name = str(data.get("provider", ""))
        provider = catalogue.providers.get(provider_name)
        options_table = data.pop(provider_name, {}) if provider else {}
        if provider is None:  # then nobody can say whose the tables are
            data = {key: value for key, value in data.items() if key in FleetKeys.model_fields or not _is_table(value)}
        keys = self.model(FleetKeys, path, data)
        if provider is None and isinstance(data.get("provider"), str):
            known = ", ".join(sorted(catalogue.providers))
            self.wrong((*path, "provider"), _show(provider_name), f"this provider is not known; known: {known}")
        options = self.model(provider.Options, (*path, provider_name), options_table) if provider else None
        for claim in getattr(provider, "claims", lambda _: ())(options) if options else ():
            owner = self.claimed.setdefault(claim, f"fleet {name}")
            if owner != f"fleet {name}":
                key = [key for key, value in options_table.items() if value == claim][:1]
                self.wrong((*path, provider_name, *key), _show(claim), f"{owner} has this address; give each its own")
        ladder = self._ladder(path, keys, catalogue)
        configured = self._checks(path, checks, catalogue)
        if keys is None or provider is None or options is None or top is None or len(self.errors) > before:
            return None
        try:
            zones = provider.zones(options)
            image = provider.image(self._anchored(options), keys.version)
        except ProviderError as error:
            self.wrong((*path, provider_name, "image"), "", str(error))
            return None
        if not any(c.role is Role.LIVENESS for c in configured):
            self.warnings.append(
                f"fleet {name}: no check has the role liveness, so only a stopped machine is ever healed"
            )
        if not getattr(provider, "second_class", lambda _: True)(options):
            self.warnings.append(
                f"fleet {name}: no load balancer speaks for its machines, so silence condemns only after minutes"
            )
        policy = FleetPolicy(
            name=name,
            desired=keys.desired,
            image=image.id,
            version=image.version,
            zones=zones,
            checks=tuple(CheckPolicy(c.name, c.kind, c.role, c.interval, c.timeout) for c in configured),
            ladder=ladder,
            inventory_interval=top.inventory.total_seconds(),
            environment=keys.environment,
            mode=Mode(keys.mode) if keys.mode else None,
        )
        return FleetConfig(policy, provider_name, self._anchored(options), configured)

    def _anchored(self, options: BaseModel) -> BaseModel:
        """Make relative paths among the options relative to the file's folder."""
        changed = {
            name: self.relative(str(value))
            for name in type(options).model_fields
            if isinstance(value := getattr(options, name), Path) and not value.is_absolute()
        }
        return options.model_copy(update=changed)

    def _ladder(
        self, path: tuple[str, ...], keys: FleetKeys | None, catalogue: Catalogue
    ) -> tuple[RemediationPolicy, ...]:
        made: list[RemediationPolicy] = []
        for place, rung in enumerate(keys.remediation if keys else ()):
            data = {"kind": rung} if isinstance(rung, str) else dict(rung)
            kind = str(data.pop("kind", ""))
            plugin = catalogue.remediations.get(kind)
            where: tuple[str | int, ...] = (*path, "remediation", place)
            if plugin is None:
                known = ", ".join(sorted(catalogue.remediations))
                self.wrong(where, _show(kind), f"this remediation is not known; known: {known}")
                continue
            remediation: Remediation | None = self.model(plugin.cls, where, data)
            if remediation is not None:
                plan = tuple(step.planned() for step in remediation.plan())
                made.append(RemediationPolicy(kind, plan, plugin.cls.removes, plugin.cls.starts_from))
        return tuple(made)

    def _checks(self, path: tuple[str, ...], tables: object, catalogue: Catalogue) -> tuple[ConfiguredCheck, ...]:
        if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
            self.wrong((*path, "check"), _show(tables), f"expected tables [[{'.'.join(path)}.check]]")
            return ()
        made: list[ConfiguredCheck] = []
        for place, table in enumerate(tables):
            check = self._check((*path, "check", place), table, catalogue)
            if check is None:
                continue
            if any(other.name == check.name for other in made):
                self.wrong(
                    (*path, "check", place, "name"),
                    _show(check.name),
                    "two checks of one fleet have this name; rename one",
                )
            made.append(check)
        return tuple(made)

    def _check(self, path: tuple[str | int, ...], table: Table, catalogue: Catalogue) -> ConfiguredCheck | None:
        common = {k: v for k, v in table.items() if k in CheckKeys.model_fields}
        own = {k: v for k, v in table.items() if k not in CheckKeys.model_fields}
        keys = self.model(CheckKeys, path, common)
        kind = str(table.get("kind", ""))
        plugin = catalogue.checks.get(kind)
        if plugin is None:
            if isinstance(table.get("kind"), str):
                known = ", ".join(sorted(catalogue.checks))
                self.wrong((*path, "kind"), _show(kind), f"this kind of check is not known; known: {known}")
            return None
        check: Check | None = self.model(plugin.cls, path, own)
        if keys is None or check is None:
            return None
        interval, timeout = keys.interval.total_seconds(), keys.timeout.total_seconds()
        if not timedelta(milliseconds=100) <= keys.interval <= timedelta(days=1):
            self.wrong((*path, "interval"), _show(table.get("interval")), "expected 100ms to 1d")
        elif not 0 < timeout <= interval:
            self.wrong(
                (*path, "timeout"), _show(table.get("timeout", "3s")), "expected more than 0 and at most the interval"
            )
        options = check.model_dump(mode="json")
        builtin = plugin.builtin and not plugin.cls.isolated
        return ConfiguredCheck(keys.name or kind, kind, options, keys.role, interval, timeout, builtin)


def _near(name: str | int, model: type[BaseModel]) -> list[str]:
    return difflib.get_close_matches(str(name), model.model_fields, n=1)


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _show(found: object) -> str:
    text = f'"{found}"' if isinstance(found, str) else str(found).lower() if isinstance(found, bool) else str(found)
    return text if len(text) <= 80 else text[:79] + "…"


def _expected(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input should be ").replace("valid tuple", "list")
    if "valid dictionary" in text:
        return "expected a table"
    return text if text.startswith("expected") or "expected" in text else f"expected {text}"
