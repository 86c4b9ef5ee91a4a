"""A person's word on an incident: what it does, when it does nothing, and what people are told of it."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.core.cards import card
from supervisor.core.model import Incident, IncidentState
from supervisor.core.signals import Approve, Hold, Pause, Reject, ReleaseFromQuarantine, SettingsLoaded, Unhold
from supervisor.core.terms import Lifecycle, Mode
from supervisor.runtime.service import Service
from supervisor.sim.run import until
from supervisor.sim.world import Behaviour, World
from tests.stages import ask, calm, fleet, incidents, instances, removals, settings, stage


def errs(service: Service, world: World) -> None:
    """Let one machine answer with errors."""
    world.behave(instances(service)[0].id, Behaviour.ERRORS)


def held(service: Service) -> bool:
    """Return whether an incident is held."""
    return any(i.held for i in incidents(service))


def last(service: Service) -> Incident:
    """Return the newest incident about an instance."""
    return incidents(service)[-1]


@pytest.mark.parametrize("verb", [Approve, Reject])
@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.OBSERVE])
def test_a_word_that_could_do_nothing_is_refused(mode: Mode, verb: type[Approve | Reject]) -> None:
    """Outside of mode approve nobody is told "rejected" and sees the machine replaced, or "approved" and sees nothing."""
    there = stage()

    async def calms(service: Service, world: World) -> None:
        await calm(service, world)

    async def asks(service: Service, world: World) -> None:
        errs(service, world)
        await until(lambda: bool(incidents(service)), 1200)
        reply = await ask(service, verb(last(service).id))

        assert not reply.ok
        assert f"web is in mode {mode}" in reply.text
        assert last(service).approval is None

    there.live(calms)
    there.settings = settings(mode=mode)
    there.live(asks)


def test_a_rejection_is_what_people_read() -> None:
    """Once somebody has rejected, no card says that nobody has spoken; another word is still possible."""
    there = stage()
    there.live(calm)
    there.settings = settings(mode=Mode.APPROVE)

    async def rejects(service: Service, world: World) -> None:
        errs(service, world)
        await until(lambda: held(service), 1200)
        assert (await ask(service, Reject(last(service).id), "not now")).ok
        await until(lambda: "rejected by ada" in last(service).held_why[0], 30)

        assert [] == removals(world)
        assert f"sickbay approve {last(service).id}" == card(service.engine.ctx, last(service)).ask
        assert (await ask(service, Approve(last(service).id))).ok
        await until(lambda: last(service).state is IncidentState.CLOSED, 1200)

    there.live(rejects)


@pytest.mark.parametrize("own", [False, True])
def test_a_change_of_mode_is_told_with_the_command_that_helps_now(own: bool) -> None:
    """From observe to approve, the incident names the new mode and how to let it go ahead, fleet by fleet."""
    there = stage()
    there.live(calm)
    there.settings = settings(mode=Mode.OBSERVE)

    async def changes(service: Service, world: World) -> None:
        errs(service, world)
        await until(lambda: held(service), 1200)
        policy = fleet(mode=Mode.APPROVE) if own else fleet()
        service.inbox.put(SettingsLoaded(settings(policy, mode=Mode.OBSERVE if own else Mode.APPROVE)))
        await until(lambda: "nobody has approved" in last(service).held_why[0], 30)

        told = last(service).notes[-1].text
        assert f"`sickbay approve {last(service).id}` lets it go ahead" in told

    there.live(changes)


def test_no_command_is_offered_that_the_fleets_own_mode_refuses() -> None:
    """A fleet that only observes, under a supervisor in mode approve, offers nothing to approve."""
    there = stage()
    there.live(calm)
    there.settings = settings(fleet(mode=Mode.OBSERVE), mode=Mode.APPROVE)

    async def observes(service: Service, world: World) -> None:
        errs(service, world)
        await until(lambda: held(service), 1200)
        assert "sickbay approve" not in " ".join(n.text for n in last(service).notes)

    there.live(observes)


def test_numbers_that_move_are_not_told_again_and_again() -> None:
    """Who pauses is told when it changes; a guard whose number counts is told once."""
    there = stage()
    there.live(calm)
    there.settings = settings(mode=Mode.AUTO)

    async def pauses(service: Service, world: World) -> None:
        assert (await ask(service, Pause("ada"))).ok
        errs(service, world)
        await until(lambda: held(service), 1200)
        before = len(last(service).notes)
        assert (await ask(service, Pause("bob"))).ok
        await until(lambda: "bob" in last(service).held_why[0], 30)
        after = last(service).notes
        assert before + 1 == len(after)

    there.live(pauses)


def test_what_operators_do_with_machines_is_told_with_its_reason() -> None:
    """Nobody finds a machine held, brought back or destroyed without having been told who did it, and why."""
    there = stage()

    async def acts(service: Service, world: World) -> None:
        await calm(service, world)
        errs(service, world)
        await until(lambda: bool(instances(service, Lifecycle.QUARANTINED)), 3600)
        kept = instances(service, Lifecycle.QUARANTINED)[0].id
        assert "it is kept, and not purged" in (await ask(service, Hold(kept))).text
        for verb in (Hold(kept), Unhold(kept), ReleaseFromQuarantine(kept)):
            assert (await ask(service, verb, "for the report")).ok
        await asyncio.sleep(5)

    there.live(acts)
    told = [m.text for m in there.chat.messages]
    assert any("is held by ada until" in text and text.endswith(": for the report") for text in told)
    assert any(text.startswith("ada ended the hold of ") for text in told)
    assert any(text.startswith("ada brings ") and text.endswith(": for the report") for text in told)
