"""What a card says of an incident at 3 a.m.: true in every state, and with the command that helps."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from supervisor.core import reasons, views
from supervisor.core.cards import Card, Tone, card
from supervisor.core.journal import Workflow, WorkflowKind, WorkflowState
from supervisor.core.model import Incident, IncidentKind, IncidentState, Resolution
from supervisor.core.settings import Guards, Judgement
from supervisor.core.signals import ReleaseFromQuarantine, SettingsLoaded
from supervisor.core.terms import Cause, Lifecycle
from supervisor.core.text import percent
from supervisor.runtime.service import Service
from supervisor.sim.run import until
from supervisor.sim.world import Behaviour, World
from tests.stages import ask, calm, fleet, incidents, instances, settings, stage


def shown(service: Service) -> Card:
    """Return the card of the newest incident about an instance."""
    return card(service.engine.ctx, incidents(service)[-1])


def test_a_fleet_that_is_no_longer_configured_is_left_alone_and_says_so() -> None:
    """No card pretends to heal what nobody looks after any more."""

    async def leaves(service: Service, world: World) -> None:
        await calm(service, world)
        world.behave(instances(service)[0].id, Behaviour.ERRORS)
        await until(lambda: bool(service.engine.ctx.world.running["web"]), 1200)
        service.inbox.put(SettingsLoaded(replace(settings(), fleets={})))
        await asyncio.sleep(5)

        assert "web is no longer configured — left alone" in shown(service).headline
        assert Tone.TROUBLE is shown(service).tone

    stage().live(leaves)


def test_who_is_needed_reads_why_and_what_to_type() -> None:
    """After the last failed launch the card holds the reason, and the command that lets the slot try again."""

    async def escalates(service: Service, world: World) -> None:
        await calm(service, world)
        world.boots_in = 1e6
        world.crash(instances(service)[0].id)
        await until(lambda: any(i.state is IncidentState.ESCALATED for i in incidents(service)), 40000)

        assert shown(service).ask.startswith("sickbay retry web ")
        assert any("launches in a row failed" in why for why in shown(service).held)

    hurried = settings(guards=Guards(launch_half_open=600.0), judgement=Judgement(boot_deadline=120.0))
    stage(hurried).live(escalates)


def test_machines_that_may_still_serve_are_counted_beside_those_that_do() -> None:
    """A fleet that is DEGRADED because its machines are suspect never reads as if none of them served."""

    async def falls_silent(service: Service, world: World) -> None:
        await calm(service, world)
        world.behave(instances(service)[0].id, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 1200)
        world.behave(instances(service)[-1].id, Behaviour.HANG)
        await until(lambda: bool(service.engine.ctx.fleets["web"].suspects), 60)

        assert "4 of 6 serve, 1 suspect" in shown(service).impact

    stage().live(falls_silent)


def test_before_anything_is_known_no_card_says_that_nobody_serves() -> None:
    """Right after a start, unknown is not down."""
    there = stage()

    async def falls_sick(service: Service, world: World) -> None:
        await calm(service, world)
        world.behave(instances(service)[0].id, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 1200)

    async def wakes(service: Service, _: World) -> None:
        await asyncio.sleep(0.01)
        assert "not yet known how many of 6 serve" == shown(service).impact

    there.live(falls_sick)
    there.live(wakes)


DOINGS = {
    WorkflowKind.RETURN: "putting it back into the load balancer",
    WorkflowKind.RELEASE: "bringing it back from quarantine",
    WorkflowKind.WITHDRAW: "taking it out of the load balancer",
    WorkflowKind.STOP: "stopping it",
    WorkflowKind.PURGE: "ending its quarantine",
    WorkflowKind.KEEP: "keeping it after all",
    WorkflowKind.FENCE: "keeping it out of the load balancer",
    WorkflowKind.SWEEP: "deleting what was left behind",
}


@pytest.mark.parametrize("kind", DOINGS)
def test_what_is_done_is_said_in_words(kind: WorkflowKind) -> None:
    """No card shows the name of a workflow where a person expects a verb."""

    async def acts(service: Service, world: World) -> None:
        await calm(service, world)
        context, patient = service.engine.ctx, instances(service)[0]
        now = context.now.wall
        incident = Incident(99, "web", patient.id, IncidentKind.SICK, IncidentState.OPEN, "a test", now, now)
        begun = next(context.world.all(Workflow))
        context.world.put(incident)
        acting = replace(begun, id=9999, kind=kind, incident=99, state=WorkflowState.RUNNING, patient=patient.id)
        context.world.put(acting)

        assert f"— {DOINGS[kind]} (" in card(context, incident).headline
        context.world.rollback()

    stage().live(acts)


def test_an_end_without_a_replacement_names_none() -> None:
    """A slot that was filled otherwise leaves no sentence that stops in the middle."""

    async def ends(service: Service, world: World) -> None:
        await calm(service, world)
        now = service.engine.ctx.now.wall
        closed = Incident(
            99, "web", "i-1", IncidentKind.VANISHED, IncidentState.CLOSED, "gone", now, now,
            resolved_at=now, closed_at=now, resolution=Resolution.REPLACED,
        )  # fmt: skip

        assert "web i-1: its place is filled again" == card(service.engine.ctx, closed).headline

    stage().live(ends)


def test_a_machine_that_is_gone_is_not_called_kept() -> None:
    """Why a retired machine is not judged is that it is gone."""

    async def vanishes(service: Service, world: World) -> None:
        await calm(service, world)
        victim = instances(service)[0]
        world.vanish(victim.id)
        await until(lambda: victim.id not in service.engine.ctx.world.members["web"], 3600)
        gone = service.engine.ctx.world.need(type(victim), victim.id)
        assert Lifecycle.RETIRED is gone.lifecycle

        assert "retired: it is gone" == reasons.explain(service.engine.ctx, gone)["decision"]["why"]

    stage().live(vanishes)


def test_a_release_counts_no_step_that_is_not_there() -> None:
    """While a workflow finishes, nobody reads of step 5 of 4."""

    async def releases(service: Service, world: World) -> None:
        await calm(service, world)
        world.behave(instances(service)[0].id, Behaviour.ERRORS)
        await until(lambda: bool(instances(service, Lifecycle.QUARANTINED)), 3600)
        kept = instances(service, Lifecycle.QUARANTINED)[0]
        world.behave(kept.id, Behaviour.WELL)
        assert (await ask(service, ReleaseFromQuarantine(kept.id))).ok
        context = service.engine.ctx
        running = next(w for w in context.world.all(Workflow) if w.kind is WorkflowKind.RELEASE)
        context.world.put(replace(running, position=len(running.plan)))
        view = views.instance_view(context, context.fleets["web"], kept, None)

        assert "release: finishing" == view["doing"]
        context.world.rollback()

    stage(settings(fleet())).live(releases)


def test_what_holds_is_shown_with_this_moments_values() -> None:
    """A cool-down that runs out is not shown for ever as it was when it began."""

    async def cools_down(service: Service, world: World) -> None:
        await calm(service, world)
        first = instances(service)[0].id
        world.crash(first)
        await until(lambda: any(i.instance == first and i.replacement for i in incidents(service)), 1200)
        again = next(i.replacement for i in incidents(service) if i.instance == first)
        world.crash(again)
        await until(lambda: any("cooldown" in i.held for i in incidents(service)), 1200)
        before = next(why for why in shown(service).held if why.startswith("cooldown"))
        await asyncio.sleep(60)
        after = next(why for why in shown(service).held if why.startswith("cooldown"))

        left = [float(why.removeprefix("cooldown: ").partition("s left")[0]) for why in (before, after)]
        assert 55 <= left[0] - left[1] <= 65

    stage().live(cools_down)


SHARED = {
    "a zone: nobody is removed, and how sure is said": (
        (Cause.ZONE, "zone a", "zone a: 3 of 3 sick there, 0 of 3 elsewhere", 0.992),
        "web zone a: 3 of 3 sick there, 0 of 3 elsewhere (99 % sure) — OPTIMAL, 6 of 6 serve — nothing is removed",
    ),
    "never certain": (
        (Cause.DEPENDENCY, "dependency db", "db is down: every deep check fails", 0.99999),
        "web db is down: every deep check fails (over 99 % sure) — OPTIMAL, 6 of 6 serve — nothing is removed",
    ),
    "a sentence that says how sure is not repeated": (
        (Cause.CHECK, "check alive", "check alive: fails on 6 of 6 since its new version (97 % sure)", 0.97),
        "web check alive: fails on 6 of 6 since its new version (97 % sure) — OPTIMAL, 6 of 6 serve — nothing is removed",
    ),
    "the evidence is told below": (
        (
            Cause.ZONE,
            "zone a",
            "zone a: 3 of 3 sick there, 0 of 3 elsewhere (96 % sure; by chance 1 in 20; cut off)",
            0.96,
        ),
        "web zone a: 3 of 3 sick there, 0 of 3 elsewhere (96 % sure) — OPTIMAL, 6 of 6 serve — nothing is removed",
    ),
    "the likeliest of many is no verdict": (
        (Cause.UNEXPLAINED, "many at once", "no explanation is likely enough: zone a 52 %, each for itself 40 %", 0.52),
        "web no explanation is likely enough: zone a 52 %, each for itself 40 % — OPTIMAL, 6 of 6 serve — nothing is removed",
    ),
    "hardware is healed, one after the other": (
        (Cause.COHORT, "host h1", "host h1: 2 of 2 sick there", 0.9),
        "web host h1: 2 of 2 sick there (90 % sure) — OPTIMAL, 6 of 6 serve — they are healed one after the other",
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_trouble_says_what_is_shared_and_what_happens_to_it(name: str) -> None:
    """What, how sure, how bad, what is done: on the first line, with the command that tells more."""
    (cause, about, sentence, sure), headline = SHARED[name]

    async def shares(service: Service, world: World) -> None:
        await calm(service, world)
        context = service.engine.ctx
        opened = context.now.wall - timedelta(seconds=5)
        shared = Incident(
            id=context.world.next_id(),
            fleet="web",
            instance="",
            kind=IncidentKind.SHARED,
            state=IncidentState.OPEN,
            cause=sentence,
            suspected_at=opened - timedelta(seconds=5),
            opened_at=opened,
            about=about,
            verdict=cause,
            sure=sure,
        )
        made = card(context, shared)
        ended = card(context, replace(shared, state=IncidentState.CLOSED, resolution=Resolution.RECOVERED))

        assert headline == made.headline
        assert ("sickbay explain web" == made.ask) == (made.tone is Tone.HELD) == ("nothing is removed" in headline)
        assert f"web {about} recovered by itself" == ended.headline
        facts = dict(made.facts)
        assert ("none yet" if cause is Cause.UNEXPLAINED else f"{about}, {percent(sure)} sure") == facts["Verdict"]
        assert "5s after the first sign" == facts["Detected"]

    stage().live(shares)
