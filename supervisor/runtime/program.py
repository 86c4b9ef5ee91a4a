"""Runs programs for checks: trusted files only, in a bare environment, within limits, and without leaving a trace.

Used by the plugin host and by `sickbay check`. A program has its own session, nothing to read from, and pipes that are
drained to the end but kept to 64 KiB. When it has ended, or its time is up, its group is killed, and then whatever got
away by a new session or a double fork (see stragglers.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import secrets
import shutil
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

import structlog

from supervisor.api import ProgramAnswer, Unrunnable
from supervisor.runtime import stragglers

log = structlog.get_logger()

time_limit: ContextVar[float] = ContextVar("time_limit", default=60.0)
"""Seconds that the check under way may take, as its runner says."""

KEPT = 64 * 1024
MOST = 256
"""Programs at the same time. No queue: waiting here would pass for the instance's silence."""
ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ")
LIMITS = {
    "core": (resource.RLIMIT_CORE, 0),
    "as": (resource.RLIMIT_AS, 1024**3),  # bytes
    "fsize": (resource.RLIMIT_FSIZE, 16 * 1024**2),
    "nofile": (resource.RLIMIT_NOFILE, 256),
}
SPARE_CPU = 5  # seconds of processor time beyond the time limit: for who outlives the supervisor itself
DRAINED_WITHIN = 1.0


def refuse_untrusted(program: str) -> None:
    """Raise `Unrunnable` for a file that is no program, or that somebody else could have written."""
    if not os.path.isabs(program):
        raise Unrunnable(f"{program} is not an absolute path; write out where the program is")
    try:
        path = Path(program).resolve(strict=True)
        state, folder = path.stat(), path.parent.stat()
    except OSError as error:
        raise Unrunnable(f"{program} can't be run: {_words(error)}; install it, or mend the path") from error
    if not stat.S_ISREG(state.st_mode) or not os.access(path, os.X_OK):
        raise Unrunnable(f"{program} is not an executable file; run `chmod +x`, or mend the path")
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unrunnable(f"{program} is writable by its group or by everyone; run `chmod go-w {path}`")
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise Unrunnable(f"{program} lies in a folder that everyone may write to; run `chmod o-w {path.parent}`")
    if state.st_uid not in (0, os.getuid()):
        raise Unrunnable(f"{program} belongs to user {state.st_uid}, expected root or the daemon's user; run `chown`")


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__


class Programs:
    """The programs under way, and those that are being buried."""

    def __init__(self) -> None:
        """Adopt orphans from now on."""
        stragglers.adopt_orphans(adopt=True)
        self._mark = os.environ.get(stragglers.MARK) or secrets.token_hex(8)
        self._numbers = itertools.count(1)
        self._prlimit = shutil.which("prlimit", path="/usr/bin:/bin")
        self._burials: set[asyncio.Task[None]] = set()
        self._ended: set[int] = set()  # zombies seen once, of unknown descent
        self.running: set[int] = set()

    async def run(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ProgramAnswer:
        """Run once. Raises `Unrunnable`. When cancelled, the killing goes on behind; `close` waits for it."""
        refuse_untrusted(argv[0])
        if len(self.running) >= MOST:
            raise Unrunnable(f"{MOST} programs run already; raise the interval of exec checks, or have fewer")
        mark = f"{self._mark}.{next(self._numbers)}"
        begun = time.monotonic()
        process = self._start([*self._limits(), *argv], {**_environment(), **(env or {}), stragglers.MARK: mark})
        pipes = [_Pipe(stream.fileno()) for stream in (process.stdout, process.stderr) if stream is not None]
        try:
            await _ended(process.pid)
            seconds = time.monotonic() - begun
        finally:
            burial = asyncio.create_task(self._bury(process, mark, pipes), name=f"burial of {argv[0]}")
            self._burials.add(burial)
            burial.add_done_callback(self._burials.discard)
        await asyncio.shield(burial)
        return ProgramAnswer(process.returncode, bytes(pipes[0].kept), bytes(pipes[1].kept), seconds)

    async def close(self) -> None:
        """Wait until everything that was given up is gone; adopt nobody any more, for nobody would be reaped."""
        while self._burials:
            await asyncio.gather(*self._burials, return_exceptions=True)
        stragglers.adopt_orphans(adopt=False)
        for _ in range(2):  # there will be no second sight later
            self._reap(set())

    def _limits(self) -> list[str]:
        """Return the wrapper that limits what comes after it. Not preexec_fn: between fork and exec no Python is safe."""
        if self._prlimit is None:
            return []
        limits = {**LIMITS, "cpu": (resource.RLIMIT_CPU, int(time_limit.get()) + SPARE_CPU)}
        return [self._prlimit, *(f"--{name}={_allowed(*limit)}" for name, limit in limits.items()), "--"]

    def _start(self, argv: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise Unrunnable(f"{argv[0]} can't be started: {error}") from error
        self.running.add(process.pid)
        return process

    async def _bury(self, process: subprocess.Popen[bytes], mark: str, pipes: Sequence[_Pipe]) -> None:
        """Kill what is left and take its last words.

        1. The group, while its number can't be another's; 2. the leader is reaped, and its orphans become our children;
        3. those are killed until none is left; 4. now nobody holds the pipes, and they come to their end.
        """
        stragglers.kill_group(process.pid)
        while process.poll() is None:  # noqa: ASYNC110  # no pidfd: descriptors may be what we are short of
            await asyncio.sleep(stragglers.PAUSE)
        self.running.discard(process.pid)
        dying: set[int] = set()

        def left() -> list[int]:
            found = [
                pid for pid in stragglers.children() if pid not in self.running and stragglers.mark_of(pid) == mark
            ]
            dying.update(found)
            return found

        if not await stragglers.kill_all(left):
            log.warning("program.lingers", pids=left(), program=str(process.args))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAINED_WITHIN):
                await asyncio.gather(*(pipe.ended for pipe in pipes))
        for pipe, stream in zip(pipes, (process.stdout, process.stderr), strict=True):
            pipe.close()
            if stream is not None:
                stream.close()
        self._reap(dying)

    def _reap(self, dying: set[int]) -> None:
        """Reap what we killed, and the dead of unknown descent at second sight: at first, a check may be about to."""
        dead = {pid for pid in stragglers.children() if pid not in self.running and stragglers.is_zombie_elsewhere(pid)}
        for pid in dying | (self._ended & dead):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._ended = dead


def _allowed(number: int, limit: int) -> int:
    """Return a limit that we may set: prlimit would fail, with an exit code that reads as WARNING, beyond our own."""
    hard = resource.getrlimit(number)[1]
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/local/bin:/usr/bin:/bin"} | {n: os.environ[n] for n in ENVIRONMENT if n in os.environ}


async def _ended(pid: int) -> None:
    """Return once a child has ended; it is not reaped yet, so that its number stays its own."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    descriptor = os.pidfd_open(pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


class _Pipe:
    """One stream of a program: the first 64 KiB are kept, the rest is read and forgotten, so that it never blocks."""

    def __init__(self, descriptor: int) -> None:
        """Begin to read."""
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self.kept = bytearray()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._descriptor, KEPT)
        except BlockingIOError:
            return
        if data:
            self.kept += data[: KEPT - len(self.kept)]
        else:
            self.close()

    def close(self) -> None:
        """Read no more."""
        self._loop.remove_reader(self._descriptor)
        if not self.ended.done():
            self.ended.set_result(None)
