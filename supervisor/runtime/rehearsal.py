"""Reads a configuration in a process of its own first, because reading it runs the plugins' code.

A file that is edited while the daemon runs may block, exit or crash as it is imported, and nothing in Python bounds that.
So the rehearsal does, and the daemon follows only where it came to an end; what is wrong in words is told by the daemon's
own reading afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from supervisor.core.duration import words
from supervisor.core.terms import Seconds
from supervisor.errors import PluginError
from supervisor.runtime import stragglers

LIMIT: Seconds = 30.0


async def rehearse(config: Path, old: Mapping[str, str], new: Mapping[str, str], limit: Seconds = LIMIT) -> None:
    """Read a configuration elsewhere. Raises `PluginError` where that does not end well by itself.

    `old` and `new` are the plugins' texts by path, as they run and as they lie there: those that differ are named.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "supervisor", "validate", "--json", "--config", str(config)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limit):
            out, err = await process.communicate()
    except TimeoutError:
        what = f"did not come to an end within {words(limit)}"
    else:
        if out.strip() or b"sickbay: " in err:  # it has told what it found, good or bad
            return
        code = process.returncode or 0
        what = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    finally:
        if process.returncode is None:
            stragglers.kill_group(process.pid)
            with contextlib.suppress(ProcessLookupError):
                await process.wait()
    raise PluginError(f"reading the plugins {what}{_edited(old, new)}; mend it, or take it out of [plugins] paths")


def _edited(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    names: Sequence[str] = sorted(path for path, text in new.items() if old.get(path) != text)
    return f", and since the last time {' and '.join(names)} changed" if names else ""
