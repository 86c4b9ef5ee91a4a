"""Finds checks, remediations and providers. The answer is a value: there is no registry to fill or to reset.

In this order: the built-in folders, the entry points of installed packages, the folders of `[plugins] paths`. A kind
that is defined twice is an error that names both places.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar, cast

from supervisor.api import RESERVED_KEYS, Check, Remediation
from supervisor.errors import PluginError
from supervisor.ports import Provider

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T]):
    """One kind: its class, and where it comes from."""

    kind: str
    cls: type[T]
    origin: str
    builtin: bool


@dataclass(slots=True)
class Catalogue:
    """Everything that was found, by kind."""

    checks: dict[str, Plugin[Check]] = field(default_factory=dict)
    remediations: dict[str, Plugin[Remediation]] = field(default_factory=dict)
    providers: dict[str, type[Provider]] = field(default_factory=dict)
    provider_origins: dict[str, str] = field(default_factory=dict)


def discover(paths: Sequence[Path] = ()) -> Catalogue:
    """Find every plugin. Raises `PluginError` in one sentence."""
    catalogue = Catalogue()
    for package in ("checks", "remediations"):
        for module in _builtin(package):
            _take(catalogue, module, f"built-in {module.__name__.rpartition('.')[2]}.py", builtin=True)
    for name in _names("supervisor.providers"):
        module = importlib.import_module(f"supervisor.providers.{name}")
        _take_provider(catalogue, module, f"built-in provider {name}")
    for group in ("sickbay.checks", "sickbay.remediations", "sickbay.providers"):
        for point in entry_points(group=group):
            origin = f"package {point.dist.name if point.dist else point.value}"
            _take(catalogue, _loaded(origin, partial(_load_point, point)), origin, builtin=False)
    for path in paths:
        for file in _files(path):
            _take(catalogue, _loaded(str(file), partial(_import_file, file)), str(file), builtin=False)
    return catalogue


def refuse_foreign_supervisor() -> None:
    """Raise `PluginError` when another distribution owns the import name `supervisor` as well."""
    owners = sorted(set(packages_distributions().get("supervisor", [])))
    if len(owners) > 1:
        raise PluginError(
            f"the import name 'supervisor' belongs to {' and '.join(owners)} in this environment; "
            f"install Sickbay into an environment of its own"
        )


def _builtin(package: str) -> Iterator[ModuleType]:
    """Import each module of a built-in folder: nested in the wheel, at the top of a checkout."""
    parent = f"supervisor.{package}" if importlib.util.find_spec(f"supervisor.{package}") else package
    for name in _names(parent):
        yield importlib.import_module(f"{parent}.{name}")


def _names(package: str) -> list[str]:
    module = importlib.import_module(package)
    return sorted(info.name for info in pkgutil.iter_modules(module.__path__))


def _loaded(origin: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except PluginError:
        raise
    except Exception as error:
        place = _place(error)
        raise PluginError(
            f"{origin} can't be loaded: {type(error).__name__}: {error}{place}; mend it or take it out of [plugins] paths"
        ) from error


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    line = 0
    while trace is not None:
        line, trace = trace.tb_lineno, trace.tb_next
    return f" (line {line})" if line else ""


def _load_point(point: EntryPoint) -> ModuleType:
    thing = point.load()
    if isinstance(thing, ModuleType):
        return thing
    return sys.modules[cast(type, thing).__module__]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        raise PluginError(f"[plugins] paths: {path} is not a folder; make it, or take it out")
    _refuse_writable(path)
    found = sorted(p for p in path.glob("*.py") if not p.name.startswith("_"))
    for file in found:
        _refuse_writable(file)
    return found


def _refuse_writable(path: Path) -> None:
    """Refuse what somebody else could have written: its code would run as us."""
    state = path.stat()
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PluginError(f"{path} is writable by its group or by everyone; run `chmod go-w {path}`")
    if state.st_uid not in (0, os.getuid()):
        raise PluginError(f"{path} belongs to user {state.st_uid}, expected root or the daemon's user; run `chown`")


def _import_file(path: Path) -> ModuleType:
    name = f"_sickbay_plugin_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _take(catalogue: Catalogue, module: ModuleType, origin: str, *, builtin: bool) -> None:
    for cls in vars(module).values():
        if not inspect.isclass(cls) or cls.__module__ != module.__name__ or inspect.isabstract(cls):
            continue
        if issubclass(cls, Check):
            _refuse_reserved(cls, origin)
            _add(catalogue.checks, Plugin(_kind(cls.kind_name, cls, origin), cls, origin, builtin))
        elif issubclass(cls, Remediation):
            _add(catalogue.remediations, Plugin(_kind(cls.kind_name, cls, origin), cls, origin, builtin))
    _take_provider(catalogue, module, origin)


def _kind(kind: str, cls: type, origin: str) -> str:
    if not kind:
        raise PluginError(f'{origin}: class {cls.__name__} names no kind; write `class {cls.__name__}(…, kind="…")`')
    return kind


def _refuse_reserved(cls: type[Check], origin: str) -> None:
    taken = sorted(RESERVED_KEYS & cls.model_fields.keys())
    if taken:
        raise PluginError(
            f"{origin}: check {cls.__name__} declares {', '.join(taken)}, which belong to Sickbay; rename"
        )


def _add(known: dict[str, Plugin[T]], plugin: Plugin[T]) -> None:
    other = known.get(plugin.kind)
    if other is not None:
        raise PluginError(
            f"kind '{plugin.kind}' is defined twice: by {other.origin} and by {plugin.origin}; rename one"
        )
    known[plugin.kind] = plugin


def _take_provider(catalogue: Catalogue, module: ModuleType, origin: str) -> None:
    provider = getattr(module, "PROVIDER", None)
    if provider is None:
        return
    other = catalogue.provider_origins.get(provider.kind)
    if other is not None:
        raise PluginError(f"provider '{provider.kind}' is defined twice: by {other} and by {origin}; rename one")
    catalogue.providers[provider.kind] = cast("type[Provider]", provider)
    catalogue.provider_origins[provider.kind] = origin
