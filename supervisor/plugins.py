"""Finds checks, remediations and providers. The answer is a value: there is no registry to fill or to reset.

In this order: the built-in folders, the entry points of installed packages, the folders of `[plugins] paths`. A kind
that is defined twice is an error that names both places. An entry point names a module, of which every check,
remediation and provider is taken, or one class. In a folder, each `*.py` is a plugin, but for names that start with
`_` or `test_`, and pytest's `conftest.py`: tests lie beside what they test.

What a folder's files say is read once, and kept with the catalogue: the plugin host runs that text, not what lies on disk
when it is started again, so that an edit counts after a reload and not before.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import linecache
import os
import pkgutil
import stat
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar, cast

from supervisor.api import RESERVED_KEYS, Check, Remediation, StepPlan
from supervisor.core.settings import RemediationPolicy
from supervisor.core.soundness import flaw
from supervisor.core.terms import Lifecycle
from supervisor.core.text import clean
from supervisor.errors import PluginError
from supervisor.ports import Provider

T = TypeVar("T")

STARTS = frozenset({Lifecycle.PROBATION, Lifecycle.IN_SERVICE, Lifecycle.WITHDRAWN})
"""Where a remediation may begin."""


@dataclass(frozen=True, slots=True)
class Plugin(Generic[T]):
    """One kind: its class, and where it comes from. `source` is the text of a file of a plugin folder."""

    kind: str
    cls: type[T]
    origin: str
    builtin: bool
    source: str = ""


@dataclass(slots=True)
class Catalogue:
    """Everything that was found, by kind; `sources` are the texts of the folders' files, by path."""

    checks: dict[str, Plugin[Check]] = field(default_factory=dict)
    remediations: dict[str, Plugin[Remediation]] = field(default_factory=dict)
    providers: dict[str, type[Provider]] = field(default_factory=dict)
    provider_origins: dict[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def discover(paths: Sequence[Path] = (), *, sources: Mapping[str, str] | None = None) -> Catalogue:
    """Find every plugin; with `sources`, the folders' files as they were read before. Raises `PluginError` in one sentence."""
    catalogue = Catalogue(sources=read_sources(paths) if sources is None else sources)
    for package in ("checks", "remediations"):
        for module in _builtin(package):
            _take(catalogue, module, f"built-in {module.__name__.rpartition('.')[2]}.py", builtin=True)
    for name in _names("supervisor.providers"):
        module = importlib.import_module(f"supervisor.providers.{name}")
        _take(catalogue, module, f"built-in provider {name}", builtin=True)
    for group in ("sickbay.checks", "sickbay.remediations", "sickbay.providers"):
        for point in sorted(entry_points(group=group), key=lambda p: p.name):
            origin = f"package {point.dist.name if point.dist else point.value}"
            _take_point(catalogue, _loaded(origin, point.load), point, origin)
    for file, text in catalogue.sources.items():
        _take(catalogue, _loaded(file, partial(_run_source, file, text)), file, builtin=False, source=text)
    return catalogue


def read_sources(paths: Sequence[Path]) -> dict[str, str]:
    """Return the text of each plugin in these folders, by its path. Raises `PluginError` in one sentence."""
    files = [file for path in paths for file in _files(path)]
    return {str(file): _loaded(str(file), partial(_text, file)) for file in files}


def _text(file: Path) -> str:
    return importlib.util.decode_source(file.read_bytes())  # as Python reads it: a file may name its encoding


def doc_of(cls: type) -> str:
    """Return what a class says of itself in its first paragraph, or what its module says, on one line."""
    module = sys.modules.get(cls.__module__)
    text = vars(cls).get("__doc__") or (module.__doc__ if module else "") or ""
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())


def planned(remediation: Remediation) -> RemediationPolicy:
    """Return the frozen plan of a remediation. Raises `PluginError` for one that nobody should carry out."""
    kind, cls = remediation.kind_name, type(remediation)
    try:
        plan, again = remediation.plan(), remediation.plan()
    except Exception as error:
        place = _place(error, inspect.getfile(cls))
        raise PluginError(f"the remediation '{kind}' makes no plan: {_said(error)}{place}; mend it") from error
    if not isinstance(plan, tuple) or not all(isinstance(step, StepPlan) for step in plan):
        raise PluginError(
            f"the remediation '{kind}': plan() returned {type(plan).__name__}, expected a tuple of StepPlan"
        )
    if plan != again:
        raise PluginError(f"the remediation '{kind}' plans otherwise each time; expected plan() to be pure")
    steps = tuple(step.planned() for step in plan)
    wrong = flaw(steps, removes=cls.removes)
    if not wrong and not frozenset() < cls.starts_from <= STARTS:
        wrong = f"`starts_from` goes beyond {', '.join(sorted(STARTS))}; expected one or more of these"
    if wrong:
        raise PluginError(f"the remediation '{kind}': {wrong}")
    return RemediationPolicy(kind, steps, cls.removes, cls.starts_from)


def refuse_foreign_supervisor() -> None:
    """Raise `PluginError` when another distribution owns the import name `supervisor` as well.

    A well-known process manager does. Its files would lie among ours, and whoever was installed last would win.
    """
    others = sorted(set(packages_distributions().get("supervisor", [])) - {"sickbay"})
    if others:
        raise PluginError(
            f"the import name 'supervisor' belongs to {' and '.join([*others, 'sickbay'])} in this environment; "
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


def _loaded(origin: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except PluginError:
        raise
    except (Exception, SystemExit) as error:
        remedy = "uninstall it" if origin.startswith("package ") else "take it out of [plugins] paths"
        raise PluginError(
            f"{origin} can't be loaded: {_said(error)}{_place(error, origin)}; mend it or {remedy}"
        ) from error


def _said(error: BaseException) -> str:
    words = clean(next(iter(str(error).splitlines()), "")).removesuffix(".")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _place(error: BaseException, origin: str) -> str:
    """Say in which line: the innermost one of the plugin's own file, not of a library that it calls."""
    if isinstance(error, SyntaxError):
        return ""  # its message says so
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [line for file, line in lines if file == origin]
    line = own[-1] if own else lines[-1][1] if lines else None
    return f" (line {line})" if line else ""


def _take_point(catalogue: Catalogue, found: object, point: EntryPoint, origin: str) -> None:
    if isinstance(found, ModuleType):
        _take(catalogue, found, origin, builtin=False)
    elif not inspect.isclass(found) or not _take_class(catalogue, found, origin, builtin=False):
        if getattr(found, "kind", None) is None or getattr(found, "Options", None) is None:
            raise PluginError(
                f"{origin}: the entry point '{point.name}' names {point.value}, which is no check, remediation, "
                f"provider or module; mend it or uninstall it"
            )
        _add_provider(catalogue, found, origin)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        raise PluginError(f"[plugins] paths: {path} is not a folder; make it, or take it out")
    _refuse_writable(path)
    found = sorted(p for p in path.glob("*.py") if not p.name.startswith(("_", "test_")) and p.name != "conftest.py")
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


def _run_source(file: str, text: str) -> ModuleType:
    name = f"_sickbay_plugin_{hashlib.sha256(os.path.realpath(file).encode()).hexdigest()[:12]}"
    module = ModuleType(name)
    module.__file__ = file
    code = compile(text, file, "exec", dont_inherit=True)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)  # tracebacks show what runs
    sys.modules[name] = module
    exec(code, vars(module))  # noqa: S102  # this is what importing does; the text was read before
    return module


def _take(catalogue: Catalogue, module: ModuleType, origin: str, *, builtin: bool, source: str = "") -> None:
    for cls in vars(module).values():
        if inspect.isclass(cls) and cls.__module__ == module.__name__:
            _take_class(catalogue, cls, origin, builtin=builtin, source=source)
    if (provider := getattr(module, "PROVIDER", None)) is not None:
        _add_provider(catalogue, provider, origin)


def _take_class(catalogue: Catalogue, cls: type, origin: str, *, builtin: bool, source: str = "") -> bool:
    """Take a check or a remediation; return whether it is one."""
    if inspect.isabstract(cls):
        return False
    if issubclass(cls, Check):
        _refuse_reserved(cls, origin)
        _add(catalogue.checks, Plugin(_kind(cls.kind_name, cls, origin), cls, origin, builtin, source))
    elif issubclass(cls, Remediation):
        _add(catalogue.remediations, Plugin(_kind(cls.kind_name, cls, origin), cls, origin, builtin, source))
    else:
        return False
    return True


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


def _add_provider(catalogue: Catalogue, provider: object, origin: str) -> None:
    found = cast("type[Provider]", provider)
    other = catalogue.provider_origins.get(found.kind)
    if other is not None:
        raise PluginError(f"provider '{found.kind}' is defined twice: by {other} and by {origin}; rename one")
    catalogue.providers[found.kind] = found
    catalogue.provider_origins[found.kind] = origin
