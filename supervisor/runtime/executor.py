"""Carries out journalled steps: the one code path by which anything in a cloud is changed.

The gate is read again immediately before each destructive call: a pause that was acknowledged a moment ago stops a
step that was dispatched before it. Every call ends in one of the four outcomes of `core.requests`; an exception and a
time-out are `Unclear`, never "did not happen".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from supervisor.core.requests import Outcome, Refused, Request, Throttled, Unclear
from supervisor.core.signals import Perform, StepFinished
from supervisor.ports import Cloud

log = structlog.get_logger()

CALL_LIMIT = 120.0  # seconds; a call that takes longer is unclear, and is sent again unchanged


class Executor:
    """Runs each `Perform` in a task of its own; the same step is never under way twice."""

    def __init__(
        self,
        clouds: Mapping[str, Cloud],
        finished: Callable[[StepFinished], None],
        gate: Callable[[Request], str],
    ) -> None:
        """`gate` returns why a request may not be carried out now, or ''."""
        self._clouds = clouds
        self._finished = finished
        self._gate = gate
        self._tasks: dict[tuple[int, str, int], asyncio.Task[None]] = {}

    @property
    def busy(self) -> int:
        """How many steps are under way."""
        return len(self._tasks)

    def use(self, clouds: Mapping[str, Cloud]) -> None:
        """Take the clouds of a new configuration."""
        self._clouds = clouds

    def perform(self, command: Perform) -> None:
        """Start one step."""
        key = (command.workflow, command.step, command.attempt)
        if key in self._tasks:
            return
        task = asyncio.create_task(self._run(command), name=f"step {command.step} of workflow {command.workflow}")
        self._tasks[key] = task

    async def _run(self, command: Perform) -> None:
        if command.delay > 0:
            await asyncio.sleep(command.delay)
        outcome = await self._call(command)
        log.info(
            "step.finished",
            workflow=command.workflow,
            step=command.step,
            attempt=command.attempt,
            outcome=outcome.outcome,
            reason=getattr(outcome, "reason", ""),
        )
        # Free the place before reporting: the answer to an unclear outcome is the same step again.
        del self._tasks[command.workflow, command.step, command.attempt]
        self._finished(StepFinished(command.workflow, command.step, command.attempt, outcome))

    async def _call(self, command: Perform) -> Outcome:
        request = command.request
        cloud = self._clouds.get(request.fleet)
        if cloud is None:
            return Refused(f"fleet {request.fleet} is not configured")
        closed = self._gate(request)
        if closed:
            return Throttled(closed)
        try:
            async with asyncio.timeout(CALL_LIMIT):
                return await cloud.perform(request)
        except TimeoutError:
            return Unclear(f"no answer within {CALL_LIMIT:.0f}s")
        except Exception as error:  # noqa: BLE001  # whatever a provider raises, the effect may be there
            log.warning("step.raised", step=command.step, error=f"{type(error).__name__}: {error}")
            return Unclear(f"{type(error).__name__}: {error}")

    async def close(self) -> None:
        """Give the calls under way up: their intents are in the journal, and are sent again at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
