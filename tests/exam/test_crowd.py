"""What a crowd of suspects costs the prober."""

from __future__ import annotations

from supervisor.core.fleet import MOST_HURRIED
from supervisor.sim.exam import catalogue
from supervisor.sim.exam.player import Run
from supervisor.sim.exam.sickbay import Sickbay

SIZE = 240


def test_of_a_crowd_only_so_many_are_asked_more_often() -> None:
    """A database takes all 240 with it: 200 are asked at the suspect's pace, and nobody is once it is back."""
    (told,) = [s for s in catalogue.load(catalogue.shipped()) if s.number == 40]
    (down,) = told.fault
    told = told.model_copy(
        update={"noise": False, "lasts": 420.0, "fault": (down.model_copy(update={"at": 60.0, "lasts": 60.0}),)}
    )
    healer = Sickbay()
    run = Run(told, SIZE, 0, healer)
    hurried: list[int] = []
    suspects: list[int] = []

    def look() -> None:
        (fleet,) = healer.engine.ctx.fleets.values()
        hurried.append(len(fleet.hurried))
        suspects.append(len(fleet.suspects) + len(fleet.sick))

    run.site.clock.every(5.0, look, 10.0)
    run.play()
    assert (SIZE, MOST_HURRIED) == (max(suspects), max(hurried))
    assert (0, 0) == (suspects[-1], hurried[-1])
