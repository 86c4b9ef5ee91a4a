"""A bad plugin hurts itself: the prober goes on, our memory stays small, and one sentence says who it was."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
from collections.abc import AsyncIterator, Iterator, MutableMapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import structlog
from aiohttp import web

from supervisor.core.terms import Status
from supervisor.plugins import read_sources
from supervisor.runtime import stragglers
from tests.watching import Watching, observe, plugin_folder, spec, watching_hosts

pytestmark = pytest.mark.acceptance

Logged: TypeAlias = list[MutableMapping[str, Any]]  # Any: structlog's own

HEAD = """\
import asyncio, os, subprocess, sys, time
HOARD = []
from supervisor.api import Check, CheckResult, Instance, Probe

class Good(Check, kind="good"):
    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        return CheckResult.ok("fine")

"""
CLASS = """
class {name}(Check, kind="{name}"):
    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        {body}
"""
JUDGE = """
from supervisor.api import Answer, AskingCheck, TcpQuestion

class Judges(AskingCheck, kind="judges"):
    port: int
    def question(self) -> TcpQuestion:
        return TcpQuestion(self.port)
    def judge(self, answer: Answer) -> CheckResult:
        time.sleep(1000)
"""
LINE = (HEAD + CLASS).count("\n")
"""The line of mine.py on which the first bad check's own code begins."""


@pytest.fixture
async def watching() -> AsyncIterator[Watching]:
    """Run the hosts for one test."""
    async with watching_hosts() as made:
        yield made


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Serve well; return the port."""

    async def well(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", well)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


@pytest.fixture
def logged() -> Iterator[Logged]:
    """Return the warnings that are logged, as data."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with structlog.testing.capture_logs() as entries:
        yield entries
    structlog.configure(**before)


def begin(watching: Watching, folder: Path, port: int, interval: float = 0.5, **bad: str) -> Path:
    """Watch an instance with a prober's check, a good plugin and bad ones; return the plugins' file."""
    bodies = {name: body.replace("\n", "\n        ") for name, body in bad.items()}
    file = plugin_folder(folder, HEAD + "".join(CLASS.format(name=name, body=body) for name, body in bodies.items()))
    checks = [
        spec("http", name="prober", port=port, path="/", interval=0.4, timeout=0.4),
        spec("good", name="good", builtin=False),
        *(spec(name, name=name, builtin=False, interval=interval, timeout=0.5) for name in bad),
    ]
    watching.hosts.configure({"web": checks}, read_sources([folder]))
    watching.hosts.apply([observe("i-1")])
    return file


def slowest_gap(watching: Watching, check: str) -> float:
    """Return the longest time between two answers of a check, in seconds."""
    times = [r.done for r in watching.of("i-1", check)]
    return max((b - a for a, b in pairwise(times)), default=0.0)


ANSWERS = {
    "it raises": ("raise RuntimeError('boom')", Status.UNKNOWN, False, "the check itself failed: RuntimeError: boom"),
    "it raises what nobody catches": ("raise GeneratorExit('boom')", Status.UNKNOWN, False, "the check itself failed: GeneratorExit: boom"),
    "it leaves": ("sys.exit('bye')", Status.UNKNOWN, False, "the check itself failed: SystemExit: bye"),
    "it cancels itself": ("raise asyncio.CancelledError", Status.UNKNOWN, False, "the check itself failed: it cancelled itself"),
    "it returns nonsense": ("return 'OK'", Status.UNKNOWN, False, "the check returned str, expected a CheckResult"),
    "it returns the wrong types": ("return CheckResult('ok', 7)", Status.UNKNOWN, False, "of the wrong type"),
    "it awaits for ever": ("await asyncio.Event().wait()", Status.CRITICAL, True, "no answer within 500ms"),
    "it will not be cancelled": (
        "while True:\n    try:\n        await asyncio.sleep(1000)\n    except BaseException:\n        pass",
        Status.UNKNOWN, False, "after it began, though its time was up; mend it",
    ),
    "it returns ten megabytes": ("return CheckResult.critical('x' * 10_000_000)", Status.CRITICAL, False, "xxx"),
    "it raises ten megabytes": ("raise RuntimeError('x' * 10_000_000)", Status.UNKNOWN, False, "the check itself failed: RuntimeError: xxx"),
    "it returns a gigabyte": ("return CheckResult.critical('x' * 1_000_000_000)", Status.UNKNOWN, False, "the check itself failed: MemoryError"),
    "it measures a million things": ("return CheckResult.ok('fine', metrics={str(n): n for n in range(1_000_000)})", Status.OK, False, "fine"),
    "its fork comes back": ("os.fork()\nreturn CheckResult.ok('fine')", Status.OK, False, "fine"),
}  # fmt: skip


async def test_a_bad_answer_is_its_own_only(watching: Watching, port: int, tmp_path: Path) -> None:
    """Each has a result that says what was wrong; everybody else has theirs, in time; no host is started anew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = {f"bad{number}": row for number, row in enumerate(ANSWERS.values())}
    begin(watching, tmp_path, port, 2.0, **{name: row[0] for name, row in names.items()})
    for name, (_, status, silent, text) in names.items():
        found = await watching.first(name, text)
        assert (status, silent) == (found.status, found.silent)
        assert len(found.text) <= 2048
        assert len(found.metrics) <= 64
    count = len(watching.of("i-1", "good"))
    await watching.until(lambda: len(watching.of("i-1", "good")) >= count + 3)

    assert {Status.OK} == {r.status for r in watching.of("i-1", "good")}
    assert {Status.OK} == {r.status for r in watching.of("i-1", "prober")}
    assert slowest_gap(watching, "prober") < 1.0
    assert (0, 0) == (watching.hosts.prober.stats.restarts, watching.hosts.plugins.stats.restarts)
    assert [] == watching.told
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


CULPRITS = {
    "it blocks": ("time.sleep(1000)", "blocked the plugin host for 5s at {here}"),
    "it blocks in a task of its own": (
        "async def nap():\n    time.sleep(1000)\nawait asyncio.create_task(nap())",
        "blocked the plugin host for 5s at {below}",
    ),
    "it blocks and holds Python's lock": (
        "import re; re.match('(a+)+$', 'a' * 60 + 'b')", "blocked the plugin host for 5s at {here}",
    ),
    "it prints a gigabyte": ("[print('x' * 1_000_000) for _ in range(1000)]", "blocked the plugin host for 5s at {here}"),
    "it kills its process": ("os._exit(7)", "brought the plugin host down: it ended with exit code 7"),
    "it crashes": (
        "import ctypes; ctypes.string_at(0)", "brought the plugin host down: it was killed by SIGSEGV",
    ),
    "it keeps a little more each time": (
        "HOARD.append(b'x' * 80_000_000)\nreturn CheckResult.ok('fine')",
        "keeps [4-7][0-9][0-9] MB of memory, of 768 MB for all plugin checks together",
    ),
    "it takes all there is and keeps it": (
        "while True:\n    HOARD.append(b'x' * 1_000_000)",
        "keeps [5-7][0-9][0-9] MB of memory, of 768 MB for all plugin checks together",
    ),
    "it forks without end": (
        "for _ in range(50):\n    os.fork() or time.sleep(1000)\nreturn CheckResult.ok('fine')",
        "left processes behind: [0-9]+ of them, expected at most 64 of all checks",
    ),
    "it starts programs without end": (
        "for _ in range(50):\n    subprocess.Popen(['sleep', '1000'], start_new_session=True)\nreturn CheckResult.ok('fine')",
        "left processes behind: [0-9]+ of them, expected at most 64 of all checks",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CULPRITS)
async def test_who_stops_the_host_is_named_and_benched(
    name: str, watching: Watching, port: int, tmp_path: Path, logged: Logged
) -> None:
    """One sentence; the others go on without it; its processes are gone; the prober noticed nothing."""
    body, what = CULPRITS[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    file = begin(watching, tmp_path, port, bad=body)
    await watching.until(lambda: watching.told, 30)
    await watching.until(lambda: [r for r in watching.of("i-1", "bad") if r.text.startswith("not run, for 5m")])
    count = len(watching.of("i-1", "good"))
    await watching.until(lambda: len(watching.of("i-1", "good")) >= count + 5)
    what = what.format(here=f"{re.escape(str(file))}:{LINE}", below=f"{re.escape(str(file))}:{LINE + 1}")

    assert 1 == len(watching.told)
    assert re.match(
        f"the check kind 'bad' {what}; it is not run for 5m, the other plugin checks go on", watching.told[0]
    )
    assert watching.told == [entry["text"] for entry in logged if entry["event"] == "plugin.benched"]
    assert Status.UNKNOWN is watching.of("i-1", "bad")[-1].status
    assert {Status.OK} == {r.status for r in watching.of("i-1", "good")}
    assert {Status.OK} == {r.status for r in watching.of("i-1", "prober")}
    assert slowest_gap(watching, "prober") < 1.0
    assert (0, 1) == (watching.hosts.prober.stats.restarts, watching.hosts.plugins.stats.restarts)
    assert 2 == len([pid for pid in stragglers.descendants(os.getpid()) if stragglers.mark_of(pid)])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


async def test_a_check_whose_judge_blocks_is_named(watching: Watching, port: int, tmp_path: Path) -> None:
    """It has no coroutine and no task, and is in custody all the same."""
    file = plugin_folder(tmp_path, HEAD + JUDGE)
    line = (HEAD + JUDGE).count("\n")
    watching.hosts.configure({"web": [spec("judges", builtin=False, port=port)]}, read_sources([tmp_path]))
    watching.hosts.apply([observe("i-1")])
    await watching.until(lambda: watching.told, 30)

    assert watching.told[0].startswith(f"the check kind 'judges' blocked the plugin host for 5s at {file}:{line}; ")


async def test_a_reload_lets_a_mended_plugin_play_again(watching: Watching, port: int, tmp_path: Path) -> None:
    """Without waiting for its time to be over."""
    begin(watching, tmp_path, port, bad="os._exit(7)")
    await watching.until(lambda: watching.told)
    begin(watching, tmp_path, port, bad="return CheckResult.ok('mended')")
    await watching.until(lambda: [r for r in watching.of("i-1", "bad") if r.text == "mended"])


async def test_what_is_printed_is_told_in_small_doses(
    watching: Watching, port: int, tmp_path: Path, logged: Logged
) -> None:
    """Five lines, whatever the number; and the host goes on."""
    begin(watching, tmp_path, port, bad="print('\\x1b[31mnoise\\n' * 100)\nreturn CheckResult.ok('fine')")
    await watching.until(lambda: len(watching.of("i-1", "bad")) >= 4)

    assert ["noise"] * 5 == [entry["text"] for entry in logged if entry["event"] == "plugin.printed"]
    assert [] == watching.told


async def test_a_short_block_accuses_nobody(watching: Watching, port: int, tmp_path: Path, logged: Logged) -> None:
    """An answer that came while the host stood still is no silence: unknown, and the log says who was slow."""
    waits = "await asyncio.sleep(0.3)\nreturn CheckResult.ok('fine')"
    slow = "time.sleep(1.0)\nreturn CheckResult.ok('fine')"
    begin(watching, tmp_path, port, slow=slow, waits1=waits, waits2=waits, waits3=waits)
    await watching.until(lambda: [r for r in watching.results if "stood still" in r.text])
    await watching.until(lambda: len(watching.of("i-1", "slow")) >= 3)

    assert Status.CRITICAL not in {r.status for r in watching.results}
    assert ["slow"] == [entry["kind"] for entry in logged if entry["event"] == "plugin.slow"]
    assert [] == watching.told


async def test_a_host_that_talks_nonsense_is_started_again(watching: Watching, port: int, tmp_path: Path) -> None:
    """A plugin that finds our socket can't bring the supervisor down with it."""
    body = (
        "link = int(sys.argv[sys.argv.index('--fd') + 1])\n"
        'os.write(link, b\'\\0\\0\\0\\x13{"type": "results"}\')\n'
        "return CheckResult.ok('fine')"
    )
    begin(watching, tmp_path, port, bad=body)
    await watching.until(lambda: watching.hosts.plugins.stats.restarts >= 2)

    assert {Status.OK} == {r.status for r in watching.of("i-1", "prober")}
    assert 0 == watching.hosts.prober.stats.restarts


async def test_with_the_host_dies_all_that_it_started(watching: Watching, port: int, tmp_path: Path) -> None:
    """Also what had left its session and lost its parent."""
    hides = "setsid sh -c 'sleep 1000 & exit' &"
    body = f'subprocess.run(["sh", "-c", "{hides}"], check=True)\nreturn CheckResult.ok(str(os.getpid()))'
    begin(watching, tmp_path, port, bad=body)
    await watching.until(lambda: watching.of("i-1", "bad"))
    host = int(watching.of("i-1", "bad")[0].text)
    mark = stragglers.mark_of(host)
    assert len(stragglers.marked(mark)) >= 2
    os.kill(host, signal.SIGKILL)
    await watching.until(lambda: watching.hosts.plugins.stats.restarts == 1)

    assert [] == stragglers.marked(mark)
