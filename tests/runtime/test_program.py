"""Programs are run in a bare environment, within limits, and nothing of them is left, however they hide."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.api import Unrunnable
from supervisor.runtime import stragglers
from supervisor.runtime.program import KEPT, Programs

pytestmark = pytest.mark.acceptance


@pytest.fixture
async def programs() -> AsyncIterator[Programs]:
    """Run programs for one test."""
    made = Programs()
    yield made
    await made.close()


def script(folder: Path, text: str, *, interpreter: str = "/bin/sh", mode: int = 0o755) -> str:
    """Write a program."""
    folder.chmod(0o755)
    path = folder / "program"
    path.write_text(f"#!{interpreter}\n{text}\n")
    path.chmod(mode)
    return str(path)


async def test_a_program_sees_little_and_may_do_little(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No secret, nothing to read from, no descriptor of ours, a session of its own, and limits."""
    for name in ("AWS_SECRET_ACCESS_KEY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "SICKBAY_TOKEN", "HOME"):
        monkeypatch.setenv(name, "CANARY")
    monkeypatch.setenv("LANG", "C.UTF-8")
    open_file = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(open_file, True)  # as os has it
    program = script(
        tmp_path,
        "import json, os, resource as r, sys\n"
        "limit = lambda n: r.getrlimit(getattr(r, 'RLIMIT_' + n))[1]\n"
        "limits = {n: limit(n) for n in ('CORE', 'AS', 'FSIZE', 'NOFILE', 'CPU')}\n"
        "print(json.dumps([sorted(os.environ), sys.stdin.read(), sorted(os.listdir('/proc/self/fd')), os.getsid(0) == os.getpid(),"
        " os.getcwd(), limits, sys.argv[1:]]))",
        interpreter="/usr/bin/python3 -IS",
    )
    answer = await programs.run([program, "$HOME; *", "ü"], {"MINE": "1"})
    os.close(open_file)
    names, read, descriptors, leads, folder, limits, arguments = json.loads(answer.stdout)

    assert {"LANG", "MINE", "PATH", "SICKBAY_MARK"} == set(names) - {"LC_ALL", "LC_CTYPE", "TZ"}
    assert ["$HOME; *", "ü"] == arguments
    assert ("", True, "/") == (read, leads, folder)
    assert ["0", "1", "2", "3"] == descriptors  # 3 is the listing itself
    assert {"CORE": 0, "AS": 2**30, "FSIZE": 2**24, "NOFILE": 256, "CPU": 65} == limits
    assert 0 == answer.code


async def test_a_program_beyond_its_limits_hurts_itself(programs: Programs, tmp_path: Path) -> None:
    """It may not fill the disk."""
    target = tmp_path / "big"
    answer = await programs.run([script(tmp_path, f"exec head -c 100000000 /dev/zero > {target}")])

    assert 0 != answer.code
    assert 16 * 1024**2 == target.stat().st_size


async def test_a_flood_is_drained_and_cut(programs: Programs, tmp_path: Path) -> None:
    """200 MB on both streams: the program comes to its end, and 64 KiB of each are kept."""
    program = script(tmp_path, "head -c 100000000 /dev/zero & head -c 100000000 /dev/zero >&2; wait; exit 2")
    answer = await programs.run([program])

    assert (2, KEPT, KEPT) == (answer.code, len(answer.stdout), len(answer.stderr))


REFUSED = {
    "a relative path": ("program", 0o755, "is not an absolute path"),
    "nothing there": ("/nowhere/check", 0o755, "can't be run: no such file or directory"),
    "a folder": ("/usr", 0o755, "is not an executable file"),
    "not executable": ("", 0o644, "is not an executable file; run `chmod +x`"),
    "writable by its group": ("", 0o775, "is writable by its group or by everyone; run `chmod go-w"),
    "writable by everyone": ("", 0o757, "is writable by its group or by everyone; run `chmod go-w"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_program_that_can_not_be_trusted_is_not_run(name: str, programs: Programs, tmp_path: Path) -> None:
    """Somebody else's code would run as us; the sentence says what to do."""
    path, mode, sentence = REFUSED[name]
    written = script(tmp_path, "true", mode=mode)
    with pytest.raises(Unrunnable) as caught:
        await programs.run([path or written])

    assert sentence in str(caught.value)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
async def test_somebody_elses_program_is_not_run(programs: Programs, tmp_path: Path) -> None:
    """Root's and our own are."""
    program = script(tmp_path, "true")
    os.chown(program, 12345, 12345)
    with pytest.raises(Unrunnable, match="belongs to user 12345, expected root or the daemon's user"):
        await programs.run([program])


async def test_a_folder_that_everyone_may_write_to_is_no_place_for_a_program(
    programs: Programs, tmp_path: Path
) -> None:
    """The file could be exchanged."""
    program = script(tmp_path, "true")
    tmp_path.chmod(0o777)
    with pytest.raises(Unrunnable, match="lies in a folder that everyone may write to"):
        await programs.run([program])


HIDING = {
    "a plain hang": "exec sleep 1000",
    "a child in the same group": "sleep 1000 & sleep 1000",
    "signals ignored": "trap '' TERM INT HUP; sleep 1000 & sleep 1000",
    "a session of its own": "setsid sleep 1000 & sleep 1000",
    "a double fork in a new session, signals ignored": "(trap '' TERM HUP; setsid sh -c 'sleep 1000 & sleep 1000 & exit' &) ; sleep 1000",
    "stopped": "kill -STOP $$",
}
LEAVING = {
    "a child that holds our pipe": "sleep 1000 & echo bye",
    "a daemon in a new session that holds our pipe": "setsid sh -c 'sleep 1000 & exit' & echo bye",
    "three generations": "setsid sh -c 'setsid sh -c \"setsid sleep 1000 &\" &' & echo bye",
}


def remaining(folder: Path) -> list[int]:
    """Return what is left of the program in a folder: each process of it has a variable that names the folder."""
    name = f"FOLDER={folder}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if name in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", HIDING)
async def test_when_its_time_is_up_nothing_is_left(name: str, programs: Programs, tmp_path: Path) -> None:
    """However it hides; and its number stays nobody's zombie."""
    program = script(tmp_path, HIDING[name])
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await programs.run([program], {"FOLDER": str(tmp_path)})
    assert time.monotonic() - begun < 2.0
    await programs.close()

    assert [] == remaining(tmp_path)
    assert set() == programs.running


@pytest.mark.parametrize("name", LEAVING)
async def test_what_a_program_leaves_behind_goes_with_it(name: str, programs: Programs, tmp_path: Path) -> None:
    """And holds up nobody: the answer is there at once, all of it."""
    program = script(tmp_path, LEAVING[name])
    async with asyncio.timeout(3):
        answer = await programs.run([program], {"FOLDER": str(tmp_path)})

    assert (0, b"bye\n") == (answer.code, answer.stdout)
    assert [] == remaining(tmp_path)


async def test_many_runs_leave_no_zombie_and_no_descriptor(programs: Programs, tmp_path: Path) -> None:
    """Two hundred of them, each with a daemon that ends by itself."""
    program = script(tmp_path, "setsid sh -c 'true & exit' & exit 0")
    await programs.run([program])
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        await asyncio.gather(*(programs.run([program]) for _ in range(20)))
    await asyncio.sleep(0.1)
    await programs.run([program])
    await programs.run([program])

    assert len(stragglers.children()) <= 3
    assert descriptors == len(os.listdir("/proc/self/fd"))
