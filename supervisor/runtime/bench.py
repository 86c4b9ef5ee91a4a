"""The kinds of checks that are not run for a while, because they stopped the plugin host. Pure: the caller brings the time."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.duration import words

FIRST = 300.0
LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class _Term:
    what: str
    length: float
    until: float


class Bench:
    """Who sits, why, and until when. Times are seconds of any one clock."""

    def __init__(self) -> None:
        """Nobody sits."""
        self._terms: dict[str, _Term] = {}

    def send(self, kind: str, what: str, now: float) -> str:
        """Bench a kind; return the sentence for people.

        It sits for 5 minutes, then twice as long each time, 1 hour at most. After an hour without offence it starts afresh.
        """
        last = self._terms.get(kind)
        again = last is not None and now - last.until < LONGEST
        length = min(LONGEST, last.length * 2) if last is not None and again else FIRST
        self._terms[kind] = _Term(what, length, now + length)
        return (
            f"the check kind '{kind}' {what}; it is not run for {words(length)}, the other plugin checks go on; "
            f"mend it and reload the daemon, or take it out"
        )

    def sitting(self, now: float) -> dict[str, str]:
        """Return the kinds that sit, each with what its checks answer meanwhile."""
        return {
            kind: f"not run, for {words(term.length)}: the kind '{kind}' {term.what}"
            for kind, term in sorted(self._terms.items())
            if now < term.until
        }

    def clear(self) -> None:
        """Let everybody play: the configuration was read anew, and perhaps the plugins were mended."""
        self._terms.clear()
