"""Stories of what is looked up by itself: the dossier of an incident, its kind, and others of that kind."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from supervisor.core import dossiers, views
from supervisor.core.dossiers import KEPT, alike_in_words
from supervisor.core.model import CheckSeen, Dossier, Incident, IncidentKind, IncidentState, Moment, Quarantine
from supervisor.core.settings import Retention
from supervisor.core.signals import LogRead, TellChange
from supervisor.core.terms import ChangeKind, Lifecycle
from supervisor.runtime.service import Service
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.world import World
from supervisor.store.codec import to_row
from tests.scenarios.test_quarantine import ROOMY, kept, proved
from tests.stages import ask, calm, fleet, incidents, instances, settings, stage

BOOM = "2026-11-21 21:00:35 panic: index 7 out of range in cart.go:41"
ROOMIER = replace(ROOMY, quarantine_cap=9)
LONG = Retention(running=1e6, kept=1e6, notice=1200.0)


async def crashes(service: Service, world: World, *log: str) -> Incident:
    """Let one machine print this and crash; wait until it is healed; return its incident."""
    await proved(service, world)
    before = len(incidents(service))
    victim = instances(service, Lifecycle.IN_SERVICE)[0].id
    world.machines[victim].log += log
    world.crash(victim)
    await until(lambda: len(incidents(service)) > before, 120)
    await until(lambda: incidents(service)[-1].state is IncidentState.CLOSED, 600)
    return incidents(service)[-1]


def dossier(service: Service, incident: Incident, moment: Moment = Moment.OPENING) -> Dossier:
    """Return one dossier of an incident."""
    return service.engine.ctx.world.need(Dossier, incident.id, moment)


def told(there: Stage, incident: Incident) -> list[str]:
    """Return what was told of an incident's dossier."""
    return [m.text for m in there.chat.messages if m.kind == "incident.dossier" and m.incident == incident.id]


def holds(there: Stage) -> None:
    """Demand every safety invariant."""
    assert [] == check(Evidence(there.records(), there.world, there.commits, there.settings), ended=False)


def test_an_incident_has_looked_up_what_a_person_would() -> None:
    """Which check says what, and since when; cloud and load balancer; what was changed; the last words of its log."""
    there = stage(settings(fleet(3)))

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        await ask(service, TellChange(ChangeKind.CONFIG, "cart", "cart's limits were raised"))
        incident = await crashes(service, world, "listens on 80", BOOM, "goroutine 1 [running]:")
        found = dossier(service, incident)
        assert found.why.startswith(f"{incident.cause}; the first failure was at {incident.suspected_at:%H:%M:}")
        assert found.why.endswith("the load balancer calls it unhealthy as well")
        assert [("alive", "critical", "connection refused")] == [(c.name, c.status, c.text) for c in found.checks]
        assert found.checks[0].since is not None
        assert abs((found.checks[0].since - incident.suspected_at).total_seconds()) < 5
        assert "machine stopped (exited); load balancer: unhealthy" == found.cloud
        assert ["cart's limits were raised"] == [said.partition(" (")[0] for said in found.changes]
        assert ("listens on 80", BOOM, "goroutine 1 [running]:") == found.log
        assert BOOM == found.telling
        removal = dossier(service, incident, Moment.REMOVAL)
        assert removal.at > found.at
        assert found.log == removal.log
        assert [f"its log says: {BOOM}"] == told(there, incident)

    there.live(story)
    holds(there)


def test_the_second_of_a_kind_names_the_first_and_another_kind_does_not() -> None:
    """Another time, index and line number is the same crash; another sentence is another one."""
    there = stage(settings(fleet(3), guards=ROOMIER))

    async def story(service: Service, world: World) -> None:
        first = await crashes(service, world, BOOM)
        other = await crashes(service, world, "2026-11-22 03:00:00 panic: nil map in login.go:7")
        again = await crashes(service, world, "2026-11-23 01:10:05 panic: index 3 out of range in cart.go:40")
        assert first.fingerprint == again.fingerprint != other.fingerprint
        assert [f"its log says: {BOOM}"] == told(there, first)
        assert "like this" not in told(there, other)[0]
        assert told(there, again)[0].startswith(f"second like this in 7 days, see #{first.id}; its log says: ")
        ctx = service.engine.ctx
        document = views.story_view(ctx, again)
        assert [first.id] == document["alike"]
        assert f"second like this in 7 days, see #{first.id}" == document["alike_in_words"]

        ctx.world.put(replace(first, opened_at=again.opened_at - timedelta(days=7, seconds=1)))
        assert [] == views.story_view(ctx, again)["alike"]

    there.live(story)
    holds(there)


def test_a_log_that_does_not_come_delays_nothing() -> None:
    """Healing takes as long as without; the dossier says what is missing, and the kind stays unknown."""
    took: dict[float, float] = {}
    for seconds in (0.0, 1000.0):
        there = stage(settings(fleet(3)))
        there.world.logs_take = seconds

        async def story(service: Service, world: World, seconds: float = seconds) -> None:
            incident = await crashes(service, world, BOOM)
            assert incident.closed_at is not None
            took[seconds] = (incident.closed_at - incident.suspected_at).total_seconds()
            await asyncio.sleep(15)
            found = dossier(service, incident)
            assert found.log_trouble == ("not read: no answer within 10s" if seconds else "")
            assert bool(incidents(service)[-1].fingerprint) is not bool(seconds)

        there.live(story)
        holds(there)
    assert took[0.0] == took[1000.0]


def test_a_killed_daemon_reads_the_log_in_its_next_life() -> None:
    """What was asked for is in the journal; the answer was not."""
    there = stage(settings(fleet(3)))
    there.world.logs_take = 9.0

    async def begins(service: Service, world: World) -> None:
        await proved(service, world)
        victim = instances(service, Lifecycle.IN_SERVICE)[0].id
        world.machines[victim].log.append(BOOM)
        world.crash(victim)
        await until(lambda: bool(incidents(service)), 120)
        await asyncio.sleep(2)
        assert dossier(service, incidents(service)[0]).log_at is None

    async def goes_on(service: Service, _: World) -> None:
        await until(lambda: bool(incidents(service)[0].fingerprint), 15)
        assert (BOOM,) == dossier(service, incidents(service)[0]).log

    there.live(begins)
    there.live(goes_on)


def test_no_secret_of_a_log_or_an_answer_reaches_journal_or_chat() -> None:
    """Not in the dossier, the story, the outbox or the fingerprint's line."""
    there = stage(settings(fleet(3)))
    canary = "c4n4ry"

    async def story(service: Service, world: World) -> None:
        await crashes(
            service,
            world,
            f"error: login with password={canary} was refused",
            "-----BEGIN PRIVATE KEY-----",
            canary,
            "-----END PRIVATE KEY-----",
            f"fatal: postgres://app:{canary}@db is unreachable, Authorization: Bearer {canary}",
        )
        assert told(there, incidents(service)[0]) == [
            "its log says: fatal: postgres://[masked]@db is unreachable, Authorization: [masked]"
        ]

    there.live(story)
    assert canary not in repr(list(there.records())) + repr(there.chat.messages)


def test_a_dossier_is_bounded_whatever_a_machine_prints() -> None:
    """Both of an incident stay within 32 KiB, as JSON; the newest lines are those that are kept."""
    there = stage(settings(fleet(3)))

    async def story(service: Service, world: World) -> None:
        incident = await crashes(service, world, *[f"error {i} " + "\U0001f525" * 600 for i in range(300)])
        rows = [json.dumps(to_row(dossier(service, incident, moment))) for moment in Moment]
        assert 20_000 < sum(map(len, rows)) <= 32 * 1024
        assert dossier(service, incident).log[-1].startswith("error 299")

    there.live(story)


def test_hostile_texts_leave_a_dossier_bounded_too() -> None:
    """Checks without number, reasons without end."""
    there = stage(settings(fleet(3)))
    fire = "\U0001f525" * 5000

    async def story(service: Service, world: World) -> None:
        await proved(service, world)
        victim = instances(service, Lifecycle.IN_SERVICE)[0].id
        world.machines[victim].reason = fire
        for n in range(7):
            await ask(service, TellChange(ChangeKind.CONFIG, f"{n}", fire))
        incident = await crashes(service, world, *[fire] * 100)
        assert sum(len(json.dumps(to_row(dossier(service, incident, moment)))) for moment in Moment) <= 32 * 1024

    there.live(story)


def test_old_dossiers_go_and_their_kinds_stay() -> None:
    """A journal does not grow for ever: the oldest of what is over goes first, never one of what is open."""
    there = stage(settings(fleet(3)))

    async def story(service: Service, world: World) -> None:
        first = await crashes(service, world, BOOM)
        ctx = service.engine.ctx
        seen = CheckSeen("alive", "ok", None, "")
        old = [
            Incident(n, "web", "", IncidentKind.MISSING, IncidentState.CLOSED, "x", first.opened_at, first.opened_at)
            for n in range(first.id + 1, first.id + 1 + KEPT)
        ]
        for incident in old:
            ctx.world.put(incident)
            ctx.world.put(Dossier(incident.id, Moment.OPENING, first.opened_at, "x", "x", (seen,)))
        last = ctx.world.need(Incident, old[-1].id)
        dossiers.begin(ctx, ctx.fleets["web"], last, Moment.REMOVAL)
        assert ctx.world.count(Dossier) == KEPT
        assert ctx.world.get(Dossier, first.id, Moment.OPENING) is None
        assert ctx.world.get(Dossier, last.id, Moment.REMOVAL) is not None
        assert ctx.world.need(Incident, first.id).fingerprint == first.fingerprint != ""

    there.live(story)


def test_of_a_full_quarantine_the_double_goes_not_the_oldest() -> None:
    """Two places, and an example of each kind in them: the third machine takes the place of its own kind's example."""
    there = stage(settings(fleet(3), guards=ROOMY, retention=LONG))

    async def story(service: Service, world: World) -> None:
        oldest = (await crashes(service, world, "panic: nil map in login.go:7")).instance
        double = (await crashes(service, world, BOOM)).instance
        await proved(service, world)
        third = instances(service, Lifecycle.IN_SERVICE)[0].id
        world.machines[third].log.append(BOOM)
        world.crash(third)
        await until(lambda: third in kept(service), 3600)
        assert {oldest, third} == set(kept(service))
        assert world.machines[double].terminated

    there.live(story)
    holds(there)


def test_without_a_double_the_oldest_goes() -> None:
    """Three kinds, two places. A machine whose kind nobody knows is nobody's double."""
    there = stage(settings(fleet(3), guards=ROOMY, retention=LONG))

    async def story(service: Service, world: World) -> None:
        oldest = (await crashes(service, world, "panic: nil map in login.go:7")).instance
        second = (await crashes(service, world, BOOM)).instance
        await proved(service, world)
        third = instances(service, Lifecycle.IN_SERVICE)[0].id
        world.machines[third].log.append("fatal: the moon is full")
        world.crash(third)
        await until(lambda: third in kept(service), 3600)
        assert {second, third} == set(kept(service))
        assert world.machines[oldest].terminated
        ended = service.engine.ctx.world.need(Quarantine, oldest)
        assert "expired" == ended.ended_by

    there.live(story)
    holds(there)


def test_an_answer_for_what_is_over_or_unknown_changes_nothing() -> None:
    """It may come late, twice, or for an incident of another journal."""
    there = stage(settings(fleet(3)))

    async def story(service: Service, world: World) -> None:
        incident = await crashes(service, world, BOOM)
        before = dossier(service, incident)
        for number in (incident.id, 99):
            service.inbox.put(LogRead(number, Moment.OPENING, ("panic: other",)))
        await asyncio.sleep(2)
        assert before == dossier(service, incident)
        assert 1 == len(told(there, incident))
        await calm(service, world)

    there.live(story)


COUNTED = (
    (0, 0, ""),
    (1, 0, "second like this in 7 days, see #1"),
    (2, 0, "third like this in 7 days, see #2"),
    (9, 2, "tenth like this in 7 days, see #9, 2 of them not over yet"),
    (10, 0, "11th like this in 7 days, see #10"),
    (20, 0, "21st like this in 7 days, see #20"),
    (110, 0, "111th like this in 7 days, see #110"),
)


@pytest.mark.parametrize(("before", "still", "words"), COUNTED)
def test_how_often_it_was_seen_is_said_in_words(before: int, still: int, words: str) -> None:
    """With the number of the last one, and how many of them still stand."""
    at = datetime(2026, 11, 21, tzinfo=UTC)
    states = [IncidentState.OPEN if n <= still else IncidentState.CLOSED for n in range(1, before + 1)]
    found = [Incident(n, "web", "i", IncidentKind.SICK, state, "x", at, at) for n, state in enumerate(states, 1)]
    assert words == alike_in_words(found)
