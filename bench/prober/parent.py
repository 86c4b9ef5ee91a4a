"""The parent of one prober: what the daemon does with a check host, up to the results as objects, and nothing after.

    python -m bench.prober.parent OFFER.json

Once a second the results so far are written, by status.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supervisor.core.signals import Observe, Result
from supervisor.runtime.checkhost import CheckSpec, ChildHost

FLEET = "bench"
INTERVAL = 1.0
TIMEOUT = 0.9


async def read(queue: asyncio.Queue[Sequence[Result]], counts: Counter[str]) -> None:
    """Take results for ever."""
    while True:
        counts.update(str(result.status) for result in await queue.get())


async def tell(counts: Counter[str], file: Path) -> None:
    """Write the counts for ever."""
    beside = file.with_suffix(".new")
    while True:
        await asyncio.sleep(INTERVAL)
        beside.write_text(json.dumps(counts))
        os.replace(beside, file)


def _observed(addresses: Sequence[str]) -> list[Observe]:
    return [Observe(f"i-{number:06}", FLEET, address, "a", "img", "1") for number, address in enumerate(addresses)]


async def serve(offer: dict[str, Any]) -> None:  # Any: JSON
    """Watch the offered addresses for ever."""
    queue: asyncio.Queue[Sequence[Result]] = asyncio.Queue(maxsize=1000)
    counts: Counter[str] = Counter()
    watched = {o.instance: o for o in _observed(offer["addresses"])}
    host = ChildHost("prober", watched, queue)
    options = dict(offer["check"])
    kind = options.pop("kind")
    host.configure({FLEET: [CheckSpec("check", kind, options, INTERVAL, TIMEOUT, builtin=True)]}, {})
    async with asyncio.TaskGroup() as group:
        group.create_task(host.run())
        group.create_task(read(queue, counts))
        group.create_task(tell(counts, Path(offer["told"])))


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text())))
