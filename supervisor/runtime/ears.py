"""What hears the machines' signs of life, from the broker's connection to the engine; owned by the daemon.

It knows no broker: `use` is given what listens to one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from typing import Any, TypeAlias

from supervisor.core.signals import Beat, HeartbeatsDeaf, HeartbeatsReported
from supervisor.core.terms import Seconds
from supervisor.runtime.heartbeats import Heartbeats, Payload, Refused
from supervisor.runtime.runner import boottime

PACE: Seconds = 0.1  # between two batches
CHUNK = 100  # messages that are read without giving others their turn
MOST = 5000  # of one batch: what waits longer is dropped for what is newer
TIDY: Seconds = 60.0
TELL: Seconds = 60.0  # between two notices of the same kind

Put = Callable[[HeartbeatsReported | HeartbeatsDeaf], None]
Notice = Callable[[str, str], None]
Listen: TypeAlias = Callable[
    [Callable[[str, bytes, bool], None], Callable[[str], None]], Coroutine[Any, Any, None]
]  # Any: nothing is sent into it


class Ears:
    """Listens to at most one broker, and hands on what it hears."""

    def __init__(
        self, fleet_of: Callable[[str], str | None], hint: Callable[[str], None], put: Put, notice: Notice
    ) -> None:
        """Hear nothing before `use`. `put` takes signals, `notice` what people should be told."""
        self.heartbeats: Heartbeats | None = None
        self.deaf = ""
        self._fleet_of = fleet_of
        self._hint = hint
        self._put = put
        self._notice = notice
        self._broker: Hashable = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Messages by what came of them since this broker was listened to; empty where none is."""
        if self.heartbeats is None:
            return {}
        return {"accepted": self.heartbeats.accepted, **{str(why): self.heartbeats.refused[why] for why in Refused}}

    def said(self, instance: str) -> Payload:
        """Return what came with the newest sign of life of an instance."""
        return Payload() if self.heartbeats is None else self.heartbeats.said(instance)

    def use(self, broker: Hashable, root: str, listen: Listen | None) -> None:
        """Listen to this broker from now on; to one that is the same as before, as before."""
        if broker == self._broker:
            return
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        self._broker = broker
        self.heartbeats = None
        if listen is None:
            self._hear("")
            return
        self.heartbeats = Heartbeats(root, self._fleet_of, self._hint)
        self._listening = asyncio.create_task(listen(self._take, self._hear), name="broker")

    async def run(self) -> None:
        """Hand on what is heard, for ever."""
        tidied = told = boottime()
        try:
            while True:
                await asyncio.sleep(PACE)
                if self._listening is not None and self._listening.done():
                    self._listening.result()  # it ends by an error only
                heartbeats, now = self.heartbeats, boottime()
                if heartbeats is None:
                    continue
                beats = await self._read(heartbeats)
                if beats:
                    self._put(HeartbeatsReported(beats))
                if heartbeats.forged is not None and now - told >= TELL:
                    instance, named = heartbeats.forged
                    heartbeats.forged, told = None, now
                    self._notice(
                        "heartbeats.forged",
                        f"a message under the topic of {instance} says that it comes from {named}: dropped",
                    )
                if now - tidied >= TIDY:
                    tidied = now
                    heartbeats.forget_strangers()
        finally:
            if self._listening is not None:
                self._listening.cancel()
                with suppress(asyncio.CancelledError):
                    await self._listening

    async def _read(self, heartbeats: Heartbeats) -> list[Beat]:
        """Return the signs of life among what waits: one batch."""
        beats: list[Beat] = []
        for _ in range(MOST // CHUNK):
            beats += heartbeats.beats(CHUNK)
            if not len(heartbeats):
                break
            await asyncio.sleep(0)
        return beats

    def _take(self, topic: str, payload: bytes, retained: bool) -> None:
        if self.heartbeats is not None:
            self.heartbeats.heard(topic, payload, retained=retained, now=boottime())

    def _hear(self, deaf: str) -> None:
        if deaf != self.deaf:
            self.deaf = deaf
            self._put(HeartbeatsDeaf(deaf))
