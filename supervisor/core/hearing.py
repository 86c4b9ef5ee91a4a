"""Whether anybody's signs of life can be heard at all: where nobody's can, their silence says nothing.

One for the way on which all of them come, and one for each fleet: when most of its machines fall silent at once, that is
no machine's fault. What lasts no longer than a pause between heartbeats may is told to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.terms import BootTime, Seconds


@dataclass(slots=True)
class Hearing:
    """Why nothing is heard, '' while it is."""

    deaf: str = ""
    since: BootTime = 0.0
    told: bool = False

    def take(self, why: str, now: BootTime) -> bool:
        """Take what is so now; return whether hearing has come back just now."""
        if why and not self.deaf:
            self.since = now
        back = bool(self.deaf) and not why
        self.deaf = why
        return back

    def news(self, now: BootTime, grace: Seconds) -> str | None:
        """Return what people should be told now, each once: why nothing is heard, '' that it is heard again."""
        if self.deaf and not self.told and now - self.since >= grace:
            self.told = True
            return self.deaf
        if self.told and not self.deaf:
            self.told = False
            return ""
        return None
