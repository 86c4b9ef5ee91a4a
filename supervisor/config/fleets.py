"""The tables `[fleet.NAME]`: provider, image, checks and remediations, each checked by whoever owns its keys."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from supervisor import __version__
from supervisor.api import Check, PassiveCheck, Remediation
from supervisor.config.models import NAME, CheckKeys, FleetKeys, SupervisorTable
from supervisor.config.reading import Place, Reading, show
from supervisor.config.source import Table
from supervisor.core.machine import Offer
from supervisor.core.settings import CheckPolicy, FleetPolicy, RemediationPolicy
from supervisor.core.terms import Mode, Role, Scope
from supervisor.errors import PluginError, ProviderError
from supervisor.plugins import Catalogue, Plugin, planned


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
    scope: Scope
    depends_on: tuple[str, ...]
    version: str  # see `fingerprint`
    passive: PassiveCheck | None = None  # the check itself, where it asks nobody

    @property
    def policy(self) -> CheckPolicy:
        """The check as the engine needs it."""
        return CheckPolicy(
            self.name, self.kind, self.role, self.interval, self.timeout, self.scope, self.depends_on, self.version
        )


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """One fleet, as the shell needs it."""

    policy: FleetPolicy
    provider: str
    options: BaseModel
    checks: tuple[ConfiguredCheck, ...]


class Fleets:
    """Reads every fleet of a file. What is wrong goes into the reading."""

    def __init__(self, reading: Reading, catalogue: Catalogue) -> None:
        """Know the kinds that were found."""
        self._reading = reading
        self._catalogue = catalogue
        self._claimed: dict[str, str] = {}  # addresses, and who has them

    def claim(self, address: str, owner: str) -> None:
        """Note that an address is taken."""
        self._claimed[address] = owner

    def read(self, top: SupervisorTable | None) -> dict[str, FleetConfig]:
        """Return the fleets without a mistake."""
        made: dict[str, FleetConfig] = {}
        for name, data in self._reading.table(("fleet",)).items():
            path = ("fleet", name)
            if not re.fullmatch(NAME, name):
                self._reading.wrong(path, "", "expected a name of at most 63 letters, digits, '_' and '-'")
                continue
            if not isinstance(data, dict):
                self._reading.wrong(path, show(data), "expected a table")
                continue
            fleet = self._fleet(name, dict(data), top)
            if fleet is not None:
                made[name] = fleet
        return made

    def _fleet(self, name: str, data: Table, top: SupervisorTable | None) -> FleetConfig | None:
        path = ("fleet", name)
        before = len(self._reading.errors)
        checks = data.pop("check", [])
        provider_name = str(data.get("provider", ""))
        provider = self._catalogue.providers.get(provider_name)
        options_table = data.pop(provider_name, {}) if provider else {}
        if provider is None:  # then nobody can say whose the tables are
            data = {key: value for key, value in data.items() if key in FleetKeys.model_fields or not _is_table(value)}
        keys = self._reading.model(FleetKeys, path, data)
        if provider is None and isinstance(data.get("provider"), str):
            known = ", ".join(sorted(self._catalogue.providers))
            self._reading.wrong((*path, "provider"), show(provider_name), f"this provider is not known; known: {known}")
        options = self._reading.model(provider.Options, (*path, provider_name), options_table) if provider else None
        for claim in getattr(provider, "claims", lambda _: ())(options) if options else ():
            owner = self._claimed.setdefault(claim, f"fleet {name}")
            if owner != f"fleet {name}":
                key = [key for key, value in options_table.items() if value == claim][:1]
                self._reading.wrong(
                    (*path, provider_name, *key), show(claim), f"{owner} has this address; give each its own"
                )
        ladder = self._ladder(path, keys)
        configured = self._checks(path, checks)
        if keys is None or provider is None or options is None or top is None or len(self._reading.errors) > before:
            return None
        options = self._anchored(options)
        try:
            offer = provider.offline(options, keys.version) or Offer("", keys.version)
        except ProviderError as error:
            self._reading.wrong((*path, provider_name, "image"), "", str(error))
            return None
        if not any(c.role is Role.LIVENESS for c in configured):
            self._reading.warnings.append(
                f"fleet {name}: no check has the role liveness, so only a stopped machine is ever healed"
            )
        if not getattr(provider, "second_class", lambda _: True)(options):
            self._reading.warnings.append(
                f"fleet {name}: no load balancer speaks for its machines, so silence condemns only after minutes"
            )
        policy = FleetPolicy(
            name=name,
            desired=keys.desired,
            image=offer.image,
            version=offer.version,
            zones=offer.zones,
            checks=tuple(c.policy for c in configured),
            ladder=ladder,
            inventory_interval=top.inventory.total_seconds(),
            environment=keys.environment,
            mode=Mode(keys.mode) if keys.mode else None,
            recipe=offer.recipe,
            placements=offer.placements,
            terms=f"{provider_name} {keys.version} {options.model_dump_json()}",
            group=getattr(provider, "group", lambda _: "")(options),
            balanced=getattr(provider, "balanced", lambda _: True)(options),
            stateful=keys.stateful,
            hourly_price=getattr(provider, "hourly_price", lambda _: 0.0)(options),
        )
        return FleetConfig(policy, provider_name, options, configured)

    def _anchored(self, options: BaseModel) -> BaseModel:
        """Make relative paths among the options relative to the file's folder."""
        changed = {
            name: self._reading.relative(str(value))
            for name in type(options).model_fields
            if isinstance(value := getattr(options, name), Path) and not value.is_absolute()
        }
        return options.model_copy(update=changed)

    def _ladder(self, path: tuple[str, ...], keys: FleetKeys | None) -> tuple[RemediationPolicy, ...]:
        made: list[RemediationPolicy] = []
        for place, rung in enumerate(keys.remediation if keys else ()):
            data = {"kind": rung} if isinstance(rung, str) else dict(rung)
            kind = str(data.pop("kind", ""))
            plugin = self._catalogue.remediations.get(kind)
            where: Place = (*path, "remediation", place)
            if plugin is None:
                known = ", ".join(sorted(self._catalogue.remediations))
                self._reading.wrong(where, show(kind), f"this remediation is not known; known: {known}")
                continue
            remediation: Remediation | None = self._reading.model(plugin.cls, where, data)
            if remediation is not None:
                try:
                    made.append(planned(remediation))
                except PluginError as error:
                    self._reading.wrong(where, show(kind), str(error))
        return tuple(made)

    def _checks(self, path: tuple[str, ...], tables: object) -> tuple[ConfiguredCheck, ...]:
        if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
            self._reading.wrong((*path, "check"), show(tables), f"expected tables [[{'.'.join(path)}.check]]")
            return ()
        made: list[ConfiguredCheck] = []
        for place, table in enumerate(tables):
            check = self._check((*path, "check", place), table)
            if check is None:
                continue
            if any(other.name == check.name for other in made):
                self._reading.wrong(
                    (*path, "check", place, "name"),
                    show(check.name),
                    "two checks of one fleet have this name; rename one",
                )
            made.append(check)
        for check in made:
            self._members(path, check, {other.name: other for other in made}, tables)
        return tuple(made)

    def _members(
        self,
        path: tuple[str, ...],
        check: ConfiguredCheck,
        known: Mapping[str, ConfiguredCheck],
        tables: Sequence[Table],
    ) -> None:
        """See that a check which judges by others has them, and that none of these does so, too."""
        members = check.passive.members if check.passive is not None else ()
        place = next(i for i, t in enumerate(tables) if (t.get("name") or t.get("kind")) == check.name)
        for name in members:
            keys = [key for key, value in check.options.items() if isinstance(value, list) and name in value]
            where: Place = (*path, "check", place, *keys[:1])
            member = known.get(name)
            if member is None:
                there = ", ".join(sorted(known.keys() - {check.name}))
                self._reading.wrong(where, show(name), f"no check of this fleet has this name; there are: {there}")
            elif member.passive is not None and member.passive.members:
                self._reading.wrong(where, show(name), "this check has members itself; name those instead")
            elif check.role is Role.LIVENESS and member.scope is Scope.DEEP:
                self._reading.wrong(
                    where,
                    show(name),
                    f"is a deep check: what it depends on can't condemn a machine; give {check.name} another role",
                )

    def _check(self, path: Place, table: Table) -> ConfiguredCheck | None:
        common = {k: v for k, v in table.items() if k in CheckKeys.model_fields}
        own = {k: v for k, v in table.items() if k not in CheckKeys.model_fields}
        keys = self._reading.model(CheckKeys, path, common)
        kind = str(table.get("kind", ""))
        plugin = self._catalogue.checks.get(kind)
        if plugin is None:
            if isinstance(table.get("kind"), str):
                known = ", ".join(sorted(self._catalogue.checks))
                self._reading.wrong((*path, "kind"), show(kind), f"this kind of check is not known; known: {known}")
            return None
        check: Check | None = self._reading.model(plugin.cls, path, own)
        if keys is None or check is None:
            return None
        interval, timeout = keys.interval.total_seconds(), keys.timeout.total_seconds()
        if not timedelta(milliseconds=100) <= keys.interval <= timedelta(days=1):
            self._reading.wrong((*path, "interval"), show(table.get("interval")), "expected 100ms to 1d")
        elif not 0 < timeout <= interval:
            self._reading.wrong(
                (*path, "timeout"), show(table.get("timeout", "3s")), "expected more than 0 and at most the interval"
            )
        if check.missing:
            self._reading.wrong((*path, "kind"), show(kind), check.missing)
        scope = self._scope(path, keys)
        passive = check if isinstance(check, PassiveCheck) and check.passive else None
        if passive is not None and not plugin.builtin:
            self._reading.wrong(
                (*path, "kind"), show(kind), f"{plugin.origin} has a passive check; only built-in kinds can be passive"
            )
        if passive is not None and passive.needs and passive.needs not in self._reading.raw:
            self._reading.wrong((*path, "kind"), show(kind), f"this kind needs a table [{passive.needs}]; add it")
        return ConfiguredCheck(
            name=keys.name or kind,
            kind=kind,
            options=check.model_dump(mode="json"),
            role=keys.role,
            interval=interval,
            timeout=timeout,
            builtin=plugin.builtin and not plugin.cls.isolated,
            scope=scope,
            depends_on=keys.depends_on,
            version=fingerprint(plugin, check, keys, scope),
            passive=passive,
        )

    def _scope(self, path: Place, keys: CheckKeys) -> Scope:
        scope = keys.scope or (Scope.DEEP if keys.depends_on else Scope.NETWORK)
        if keys.depends_on and scope is not Scope.DEEP:
            self._reading.wrong((*path, "scope"), show(str(scope)), 'expected "deep", as it depends on something')
        elif scope is Scope.DEEP and keys.role is Role.LIVENESS:
            self._reading.wrong(
                (*path, "role"),
                show(str(keys.role)),
                'a deep check can\'t condemn a machine for what it depends on; expected "readiness" or another role',
            )
        return scope


def fingerprint(plugin: Plugin[Check], check: Check, keys: CheckKeys, scope: Scope) -> str:
    """Return what tells one version of a check from the next, over restarts: what it asks, how, and its code.

    A built-in check's code is known by our own version. The file of a program that a check starts is not looked at:
    it may change at any moment, and `sickbay changed check NAME` tells of it.
    """
    file = None if plugin.builtin or plugin.source else inspect.getsourcefile(plugin.cls)
    code = Path(file).read_bytes() if file else (plugin.source or __version__).encode()
    told = {
        "kind": plugin.kind,
        "options": check.model_dump(mode="json"),
        "role": keys.role,
        "interval": keys.interval.total_seconds(),
        "timeout": keys.timeout.total_seconds(),
        "scope": scope,
        "depends_on": sorted(keys.depends_on),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode() + b"\0" + code).hexdigest()[:12]


def _is_table(value: object) -> bool:
    return isinstance(value, dict)
