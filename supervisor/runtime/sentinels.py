"""Sentinels: what must work if we can see at all, asked besides the machines; and how we are ourselves.

    prober      the process that asks the machines lives
    loopback    it reaches a listener of ours on 127.0.0.1, by the code and the sockets with which it asks machines
    configured  `[[sentinel]]`: a gateway, one fixed thing in each zone, each dependency asked directly

Two failures in a row count, one success ends them. Owned by the daemon; it knows no engine: what it finds, it reports.

A cloud's API is none of them. One that fails says nothing of the way to its machines, which the checks go on to ask; that
its list is old is the `inventory` guard's to say, for that fleet alone. Where the way to the cloud is the way to
everything, a `[[sentinel]]` of sight can name the API's endpoint.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urlsplit

from supervisor.api import NoAnswer, Refusal
from supervisor.core.signals import SelfReported, Sense, SentinelReported
from supervisor.core.terms import Seconds
from supervisor.core.text import clean
from supervisor.runtime.probe import NetworkProbe

LOOK: Seconds = 1.0  # how often the prober's own figures are read: it sends them once a second
ROUND: Seconds = 5.0  # how often we report of ourselves
TICK: Seconds = 0.1
NAMES_LIMIT: Seconds = 3.0
FAILURES = 2  # in a row
WORST_ANSWER = 400  # of a dependency; whoever answers at all shows that the way is open

Report = Callable[[SentinelReported | SelfReported], None]


@dataclass(frozen=True, slots=True)
class SentinelSpec:
    """One configured sentinel. Either `url` is asked, or `host` and `port`."""

    name: str
    sense: Sense
    of: str
    interval: Seconds
    timeout: Seconds
    url: str = ""
    host: str = ""
    port: int = 0

    @property
    def dns_name(self) -> str:
        """The DNS name that it uses, '' for an address."""
        host = urlsplit(self.url).hostname or "" if self.url else self.host
        with suppress(ValueError):
            ip_address(host.strip("[]"))
            return ""
        return host


class Prober(Protocol):
    """What is known of the process that asks the machines."""

    alive: bool

    @property
    def last(self) -> Mapping[str, Any]:  # Any: JSON
        """Its newest figures."""
        ...


class Run:
    """Failures in a row, and what counts of them."""

    def __init__(self) -> None:
        """Begin without any."""
        self.failures = 0

    def take(self, why: str) -> bool:
        """Take one answer ('' is a good one); return whether all is well, as far as one answer can say."""
        self.failures = self.failures + 1 if why else 0
        return self.failures < FAILURES


class Sentinels:
    """All of them. `listen_at` is told the port that the prober should reach."""

    def __init__(self, report: Report, prober: Prober, listen_at: Callable[[int], None]) -> None:
        """Prepare; `run` begins."""
        self._report = report
        self._prober = prober
        self._listen_at = listen_at
        self._specs: tuple[SentinelSpec, ...] = ()
        self._shortest: Seconds = ROUND
        self._changed = asyncio.Event()
        self._lag: Seconds = 0.0
        self._start_lag: Seconds = 0.0

    def configure(self, specs: Sequence[SentinelSpec], intervals: Iterable[Seconds]) -> None:
        """Take the configured ones, and the intervals of all checks. One that is gone holds nobody any more."""
        kept = {(spec.name, spec.sense, spec.of) for spec in specs}
        for old in self._specs:
            if (old.name, old.sense, old.of) not in kept:
                self._report(SentinelReported(old.name, True, "", old.sense, old.of, gone=True))
        self._specs = tuple(specs)
        self._shortest = min(intervals, default=ROUND)
        self._changed.set()

    async def run(self) -> None:
        """Ask and report for ever."""
        server = await asyncio.start_server(_greet, "127.0.0.1", 0)
        async with server, asyncio.TaskGroup() as group:
            self._listen_at(int(server.sockets[0].getsockname()[1]))
            group.create_task(self._watch_prober(), name="sentinel prober")
            group.create_task(self._tick(), name="ticker")
            group.create_task(self._report_self(), name="self report")
            group.create_task(self._ask_all(), name="configured sentinels")

    async def _ask_all(self) -> None:
        """Ask each configured one at its own pace; start afresh when the configuration has changed."""
        while True:
            self._changed.clear()
            asking = [asyncio.create_task(self._ask(spec), name=f"sentinel {spec.name}") for spec in self._specs]
            changed = asyncio.create_task(self._changed.wait(), name="sentinels changed")
            try:
                done, _ = await asyncio.wait([changed, *asking], return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # one that ended has failed, and all of us with it
            finally:
                for task in (changed, *asking):
                    task.cancel()
                await asyncio.gather(changed, *asking, return_exceptions=True)

    async def _ask(self, spec: SentinelSpec) -> None:
        run, probe = Run(), NetworkProbe()
        try:
            while True:
                why = await failure(spec, probe)
                self._report(SentinelReported(spec.name, run.take(why), clean(why, 200), spec.sense, spec.of))
                await asyncio.sleep(spec.interval)
        finally:
            await probe.close()

    async def _watch_prober(self) -> None:
        """Report whether the prober lives and hears us."""
        hears = Run()
        while True:
            for _ in range(round(ROUND / LOOK)):
                await asyncio.sleep(LOOK)
                last = self._prober.last
                self._start_lag = max(self._start_lag, float(last.get("lag_p99", 0.0)))
                dead = "" if self._prober.alive else "it is being restarted"
                self._report(SentinelReported("prober", not dead, dead))
            if self._prober.alive:  # a dead one has its own sentinel
                deaf = str(last.get("deaf", ""))
                self._report(SentinelReported("loopback", hears.take(deaf), clean(deaf, 200)))

    async def _tick(self) -> None:
        """Note how late our own loop is."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self._lag = max(self._lag, loop.time() - due)

    async def _report_self(self) -> None:
        names = Names()
        try:
            while True:
                await asyncio.sleep(ROUND)
                resolved = await names.resolve(sorted({spec.dns_name for spec in self._specs} - {""}))
                share = self._start_lag / self._shortest
                self._report(SelfReported(round(self._lag, 4), round(share, 4), resolved))
                self._lag = self._start_lag = 0.0
        finally:
            names.close()


async def failure(spec: SentinelSpec, probe: NetworkProbe) -> str:
    """Ask one sentinel once; return why it fails, '' when it is well."""
    try:
        async with asyncio.timeout(spec.timeout):
            if not spec.url:
                await probe.tcp.connect(spec.host, spec.port)
                return ""
            answer = await probe.http.get(spec.url)
    except TimeoutError:
        return f"no answer within {spec.timeout:g}s"
    except (Refusal, NoAnswer, OSError) as error:
        # A refusal is an answer: whoever refuses was reached. Of a dependency, that is still a failure.
        reached = isinstance(error, Refusal) and spec.sense is not Sense.DEPENDENCY
        return "" if reached else str(error) or type(error).__name__
    if spec.sense is Sense.DEPENDENCY and answer.status >= WORST_ANSWER:
        return f"HTTP {answer.status}, expected below {WORST_ANSWER}"
    return ""


class Names:
    """Whether names resolve. A thread of its own: a resolver that hangs must not fill the threads of others."""

    def __init__(self) -> None:
        """Start no thread before there is a name."""
        self._threads = ThreadPoolExecutor(1, "names")
        self._lookup: asyncio.Future[bool] | None = None

    async def resolve(self, names: Sequence[str]) -> bool:
        """Return whether any of the names resolves now. True where there is none; False while an earlier try hangs."""
        if not names:
            return True
        if self._lookup is None or self._lookup.done():
            self._lookup = asyncio.get_running_loop().run_in_executor(self._threads, _any_resolves, names)
        done, _ = await asyncio.wait([self._lookup], timeout=NAMES_LIMIT)
        return bool(done) and self._lookup.result()

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _any_resolves(names: Sequence[str]) -> bool:
    for name in names:
        with suppress(OSError, UnicodeError):
            socket.getaddrinfo(name, None)
            return True
    return False


async def _greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say one word to whoever calls, and hang up."""
    with suppress(OSError):
        writer.write(b"sickbay\n")
        await writer.drain()
    writer.close()
