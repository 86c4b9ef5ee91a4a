"""For the authors of checks: a scripted instance, and the production runner on virtual time.

What a check makes of an answer is its own; what becomes of a refusal, of silence, of a crash of the check and of a slow
one is Sickbay's, and `run` asks the production runner. An answer takes as long as it says, and a check may sleep: both
cost virtual seconds only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NoReturn, TypeVar

from yarl import URL

from supervisor.api import (
    Check,
    CheckResult,
    HttpAnswer,
    Instance,
    NoAnswer,
    ProgramAnswer,
    Refusal,
    TcpAnswer,
    Unrunnable,
)
from supervisor.runtime.lean.names import refuse_forbidden
from supervisor.runtime.lean.reading import KEPT
from supervisor.runtime.runner import run_check
from supervisor.sim.time import VirtualLoop

A = TypeVar("A", bound=HttpAnswer | TcpAnswer | ProgramAnswer)


def run(
    check: Check, instance: Instance, probe: FakeProbe, *, timeout: float = 3.0, real_time: bool = False
) -> CheckResult:
    """Ask once, and return what Sickbay would note: `timeout` in seconds, as in the check's table.

    Time is virtual: what the check waits for costs nothing. A check that waits for a thread, a process or a socket of its
    own needs `real_time`. Raises `AssertionError` when the check asks for more answers than the probe has; a check that
    raises anything else has failed itself, and is UNKNOWN. From a coroutine, call it in a thread.
    """
    with asyncio.Runner(loop_factory=None if real_time else _Loop) as runner:
        result = runner.run(run_check(check, instance, probe, timeout)).result
    if probe.overrun:
        raise AssertionError(probe.overrun)
    return result


class _Loop(VirtualLoop):
    """Virtual time, which nobody outside of it keeps."""

    def run_in_executor(self, executor: object, func: Callable[..., object], *args: object) -> NoReturn:
        """Refuse: virtual time passes before the thread has begun."""
        raise RuntimeError("virtual time waits for no thread; test this check with run(…, real_time=True)")


def instance(address: str = "192.0.2.1", *, zone: str = "a", version: str = "1.0.0") -> Instance:
    """Return a machine of a fleet `web`; its address is one that nobody has (RFC 5737)."""
    return Instance("i-1", "web", address, zone, "img-1", version)


def http_answer(
    status: int = 200, body: bytes | str = b"", *, headers: Mapping[str, str] | None = None, seconds: float = 0.01
) -> HttpAnswer:
    """Return an HTTP answer, cut as the real probe cuts it; `seconds` is how long it took."""
    return HttpAnswer(status, headers or {}, _bytes(body)[:KEPT], seconds)


def tcp_answer(received: bytes | str = b"", *, seconds: float = 0.01) -> TcpAnswer:
    """Return what came back over TCP, cut as the real probe cuts it; `seconds` is how long it took."""
    return TcpAnswer(_bytes(received)[:KEPT], seconds)


def program_answer(
    code: int = 0, stdout: bytes | str = b"", *, stderr: bytes | str = b"", seconds: float = 0.01
) -> ProgramAnswer:
    """Return how a program ended, its output cut as the real probe cuts it; `seconds` is how long it took."""
    return ProgramAnswer(code, _bytes(stdout)[:KEPT], _bytes(stderr)[:KEPT], seconds)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What the check asked over HTTP, and when: seconds since it began."""

    method: str
    url: str
    headers: Mapping[str, str]
    verify: bool
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class TcpRequest:
    """What the check asked over TCP: `send` is what it sent, `until` what it waited for; `at` as with HTTP."""

    host: str
    port: int
    send: bytes
    until: bytes
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class ProgramRequest:
    """What the check ran, and with which additions to the environment; `at` as with HTTP."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    at: float = field(default=0.0, compare=False)


class FakeProbe:
    """A probe that answers from a script, in order.

    Each entry is an answer, or what the real probe would raise: `Refusal("connection refused")` for an instance that
    turns the check away, `NoAnswer("timed out")` for one that says nothing, `Unrunnable("no such file")` for a program
    that can't be run. An answer comes after its own `seconds`, a failure at once. `http.asked`, `tcp.asked` and
    `program.asked` tell afterwards what the check asked. Like the real one it refuses link-local addresses.
    """

    def __init__(
        self,
        *,
        http: Sequence[HttpAnswer | Refusal | NoAnswer] = (),
        tcp: Sequence[TcpAnswer | Refusal | NoAnswer] = (),
        program: Sequence[ProgramAnswer | Unrunnable] = (),
    ) -> None:
        """Take the script."""
        self._program = FakeProgram(_Script("program", program))
        self._http = FakeHttp(_Script("HTTP", http))
        self._tcp = FakeTcp(_Script("TCP", tcp))

    @property
    def http(self) -> FakeHttp:
        """HTTP."""
        return self._http

    @property
    def tcp(self) -> FakeTcp:
        """TCP."""
        return self._tcp

    @property
    def program(self) -> FakeProgram:
        """Programs."""
        return self._program

    @property
    def overrun(self) -> str:
        """Say that the check asked for more than the script has; '' when it did not."""
        return self._http.script.overrun or self._tcp.script.overrun or self._program.script.overrun


class FakeHttp:
    """The HTTP side of a `FakeProbe`."""

    def __init__(self, script: _Script[HttpAnswer]) -> None:
        """Nothing was asked yet."""
        self.script = script
        self.asked: list[HttpRequest] = []

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, method: str = "GET", verify: bool = True
    ) -> HttpAnswer:
        """Answer from the script."""
        refuse_forbidden(URL(url, encoded=True).host or "")
        self.asked.append(HttpRequest(method, url, dict(headers or {}), verify, self.script.now()))
        return await self.script.next()


class FakeTcp:
    """The TCP side of a `FakeProbe`."""

    def __init__(self, script: _Script[TcpAnswer]) -> None:
        """Nothing was asked yet."""
        self.script = script
        self.asked: list[TcpRequest] = []

    async def connect(self, host: str, port: int, *, send: bytes = b"", until: bytes = b"") -> TcpAnswer:
        """Answer from the script."""
        refuse_forbidden(host)
        self.asked.append(TcpRequest(host, port, send, until, self.script.now()))
        return await self.script.next()


class FakeProgram:
    """The program side of a `FakeProbe`."""

    def __init__(self, script: _Script[ProgramAnswer]) -> None:
        """Nothing was run yet."""
        self.script = script
        self.asked: list[ProgramRequest] = []

    async def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ProgramAnswer:
        """Answer from the script."""
        self.asked.append(ProgramRequest(tuple(argv), dict(env or {}), self.script.now()))
        return await self.script.next()


class _Script(Generic[A]):
    """What is left to be answered."""

    def __init__(self, what: str, entries: Sequence[A | Refusal | NoAnswer | Unrunnable]) -> None:
        self._what = what
        self._entries = tuple(entries)
        self._place = 0
        self._begun: float | None = None
        self.overrun = ""

    def now(self) -> float:
        """Return the seconds since the check first asked."""
        now = asyncio.get_running_loop().time()
        if self._begun is None:
            self._begun = now
        return now - self._begun

    async def next(self) -> A:
        """Return the next answer once its time has passed, or raise the next failure."""
        self._place += 1
        if self._place > len(self._entries):
            self.overrun = (
                f"the check asked over {self._what} {self._place} times, but the probe has {len(self._entries)} answers; "
                f"give FakeProbe({self._what.lower()}=[…]) one for each"
            )
            raise AssertionError(self.overrun)
        entry = self._entries[self._place - 1]
        if isinstance(entry, Refusal | NoAnswer | Unrunnable):
            raise entry
        await asyncio.sleep(entry.seconds)
        return entry


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
