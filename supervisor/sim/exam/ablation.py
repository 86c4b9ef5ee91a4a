"""Sickbay without one of its parts, to show what the part is worth. The product has no such switches.

What it is told is cut at the desk; what it does by itself is switched off by its own settings, or by making a table flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from supervisor.core.settings import Settings
from supervisor.core.signals import Beat, SentinelReported
from supervisor.core.terms import ChangeKind, Seconds
from supervisor.sim.exam.eyes import SiteEyes
from supervisor.sim.exam.healer import Desk, Healer

ABLATIONS = {
    "challenge": "no challenge round before a removal",
    "signatures": "no signatures: how machines fail says nothing",
    "heartbeats": "no heartbeats by another way",
    "changes": "no change feed",
    "sentinels": "no sentinels",
    "credits": "no credits: as many at the same time as there are",
}
"""What Sickbay can be played without, and what that means."""


class Unguarded(SiteEyes):
    """Eyes without sentinels."""

    def __init__(self, eyes: SiteEyes) -> None:
        """See what others see."""
        self.__dict__.update(vars(eyes))

    def sentinels(self) -> list[SentinelReported]:
        """Return none."""
        return []


class Without:
    """A healer that is told less than there is."""

    def __init__(self, healer: Healer, part: str) -> None:
        """Cut one part off."""
        self._healer = healer
        self._part = part
        self.name = healer.name

    def begin(self, desk: Desk) -> None:
        """Sit down at a lesser desk."""
        if self._part == "sentinels" and isinstance(desk.eyes, SiteEyes):
            desk = replace(desk, eyes=Unguarded(desk.eyes))
        self._healer.begin(replace(desk, settings=self._less(desk.settings)))

    def heartbeats(self, beats: Sequence[Beat]) -> None:
        """Pass on."""
        if self._part != "heartbeats":
            self._healer.heartbeats(beats)

    def changed(self, kind: ChangeKind, target: str, text: str, fleet: str) -> None:
        """Pass on."""
        if self._part != "changes":
            self._healer.changed(kind, target, text, fleet)

    def operator(self, verb: str, target: str, seconds: Seconds) -> None:
        """Pass on."""
        self._healer.operator(verb, target, seconds)

    def configured(self, settings: Settings) -> None:
        """Pass on."""
        self._healer.configured(self._less(settings))

    def killed(self) -> None:
        """Pass on."""
        self._healer.killed()

    def _less(self, settings: Settings) -> Settings:
        match self._part:
            case "challenge":
                return replace(settings, explaining=replace(settings.explaining, challenge_peers=0))
            case "credits":
                guards = replace(settings.guards, concurrent_share=1.0, concurrent_zone_share=1.0)
                return replace(settings, guards=guards)
            case "changes":  # a check's new version would tell of its deploy
                fleets = {
                    name: replace(fleet, checks=tuple(replace(check, version="") for check in fleet.checks))
                    for name, fleet in settings.fleets.items()
                }
                return replace(settings, fleets=fleets)
            case _:
                return settings
