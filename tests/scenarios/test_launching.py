"""Stories of launching: what a cloud refuses, what it leaves open, and what it shows that the journal does not know."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from supervisor.core.inventory import RESTORED
from supervisor.core.machine import Placement
from supervisor.core.model import Holder, Identity, IncidentState, Offering, Quarantine, Slot
from supervisor.core.requests import Launch, Outcome, Refused, Request
from supervisor.core.signals import Resume, Retry
from supervisor.core.terms import Lifecycle
from supervisor.runtime.service import Service
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.failpoints import Life
from supervisor.sim.invariants import Evidence, check
from supervisor.sim.run import Stage, until
from supervisor.sim.world import Behaviour, SimMachine, World
from supervisor.store import MemoryStore
from tests.stages import ask, calm, fleet, incidents, instances, launches, removals, settings, stage

PLACES = (
    Placement("a", (("subnet", "subnet-a"), ("type", "large"))),
    Placement("b", (("subnet", "subnet-b"), ("type", "large"))),
    Placement("a", (("subnet", "subnet-a"), ("type", "small"))),
    Placement("b", (("subnet", "subnet-b"), ("type", "small"))),
)
RECIPE = (("template", "lt-1"), ("template_version", "7"))


def holds(there: Stage) -> None:
    """No invariant is broken."""
    assert [] == check(Evidence(there.records(), there.world, there.commits, there.settings))


def refusing(there: Stage, said: dict[str, Refused]) -> list[Launch]:
    """Let the cloud refuse launches of a type; return the list of what is asked of it."""
    asked: list[Launch] = []

    def refuse(request: Request) -> Outcome | None:
        if not isinstance(request, Launch):
            return None
        asked.append(request)
        return next((no for kind, no in said.items() if ("type", kind) in request.spec), None)

    def make(world: World, name: str, life: Life) -> FakeCloud:
        return FakeCloud(world, name, life, refuse=refuse)

    there.make_cloud = make
    return asked


def test_without_capacity_the_next_place_is_tried_as_a_new_attempt() -> None:
    """Zone a, zone b, then the smaller type: each attempt with a token of its own, and all of them frozen whole."""
    there = stage(settings(fleet(1, zones=("a", "b"), placements=PLACES, recipe=RECIPE)))
    asked = refusing(there, {"large": Refused("InsufficientInstanceCapacity: none left", capacity=True)})

    async def story(service: Service, world: World) -> None:
        await calm(service, world, 300)

    there.live(story)

    assert [("a", "large"), ("b", "large"), ("a", "small")] == [(r.zone, dict(r.spec)["type"]) for r in asked]
    assert 3 == len({r.token for r in asked})
    assert {RECIPE} == {r.spec[:2] for r in asked}
    assert 1 == len(launches(there.world))
    holds(there)


def test_where_no_place_has_capacity_it_pauses_before_it_asks_them_again() -> None:
    """Every place once; then the launch has failed, and waits its turn like any other."""
    there = stage(settings(fleet(1, zones=("a", "b"), placements=PLACES)))
    none = Refused("InsufficientInstanceCapacity: none left", capacity=True)
    asked = refusing(there, {"large": none, "small": none})

    async def story(service: Service, world: World) -> None:
        await asyncio.sleep(60)

    there.live(story)

    assert {(p.zone, p.spec) for p in PLACES} == {(r.zone, r.spec) for r in asked[:4]}
    assert len(asked) <= 6


def test_a_limit_of_the_account_stops_and_tells_at_once() -> None:
    """One call, not twenty: another launch would meet the same limit. After a person's word it is tried again."""
    there = stage(settings(fleet(6)))
    limit = Refused("VcpuLimitExceeded: 32 of 32 in use; ask AWS for more", hopeless=True)
    asked: list[Launch] = []
    mended = False

    def refuse(request: Request) -> Outcome | None:
        if isinstance(request, Launch):
            asked.append(request)
            return None if mended else limit
        return None

    def make(world: World, name: str, life: Life) -> FakeCloud:
        return FakeCloud(world, name, life, refuse=refuse)

    there.make_cloud = make

    async def story(service: Service, world: World) -> None:
        nonlocal mended
        await asyncio.sleep(300)
        assert len(asked) <= 6  # those that were on their way together
        first = len(asked)
        await asyncio.sleep(900)
        assert first == len(asked)
        missing = service.engine.ctx.world.incident_of("web", "")
        assert missing is not None
        assert IncidentState.ESCALATED is missing.state
        told = "\n".join(note.text for note in missing.notes)
        assert "another launch would fail as well: VcpuLimitExceeded" in told
        mended = True
        for slot in service.engine.ctx.world.all(Slot):
            if slot.needs_human:
                assert (await ask(service, Retry("web", slot.number))).ok
        await calm(service, world)

    there.live(story)
    assert 6 == len(launches(there.world))
    holds(there)


def test_an_answer_that_stays_away_is_told_and_nothing_takes_its_place() -> None:
    """After a quarter of an hour a human is asked; the same request is sent on, and its machine serves in the end."""
    there = stage(settings(fleet(1)))
    lost = True
    sent: list[Launch] = []

    def lose(request: Request) -> bool:
        if isinstance(request, Launch):
            sent.append(request)
            return lost
        return False

    def make(world: World, name: str, life: Life) -> FakeCloud:
        return FakeCloud(world, name, life, lose=lose)

    there.make_cloud = make

    async def story(service: Service, world: World) -> None:
        nonlocal lost
        await asyncio.sleep(1200)
        missing = service.engine.ctx.world.incident_of("web", "")
        assert missing is not None
        assert IncidentState.ESCALATED is missing.state
        assert "launch has had no clear answer for 9" in "\n".join(note.text for note in missing.notes)
        assert 1 == len(world.machines)
        lost = False
        await until(lambda: len(instances(service, Lifecycle.PROBATION)) == 1, 300)

    there.live(story)
    assert 1 == len(set(sent))
    assert 1 == len(there.world.machines)


def test_a_machine_that_dies_at_once_leaves_its_reason_in_the_incident() -> None:
    """A reason that the next launch would meet again (a key, a volume limit) is no reason to try."""
    there = stage(settings(fleet(1)))
    deadly = "Client.InternalError: Client error on launch"

    class Deadly(FakeCloud):
        async def inventory(self):  # type: ignore[no-untyped-def]  # as the port says
            return [
                replace(m, reason=deadly, hopeless=True) if m.state == "terminated" else m
                for m in await super().inventory()
            ]

    there.make_cloud = Deadly

    async def story(service: Service, world: World) -> None:
        await until(lambda: bool(world.machines), 60)
        await asyncio.sleep(1)
        for machine in world.machines.values():
            machine.terminated = True
        await until(lambda: any(s.needs_human for s in service.engine.ctx.world.all(Slot)), 120)
        missing = service.engine.ctx.world.incident_of("web", "")
        assert missing is not None
        assert deadly in "\n".join(note.text for note in missing.notes)
        assert deadly in next(service.engine.ctx.world.all(Slot)).needs_human
        await asyncio.sleep(600)

    there.live(story)
    assert 1 == len(launches(there.world))


def test_many_that_die_at_once_do_not_look_like_a_list_with_holes() -> None:
    """Six launched, six terminated at once: each launch has failed, and the fleet's breaker opens after two."""
    there = stage(settings(fleet(6)))

    async def story(service: Service, world: World) -> None:
        await until(lambda: len(world.machines) == 6, 60)
        for machine in list(world.machines.values()):
            machine.terminated = True
        await asyncio.sleep(60)
        assert [] == [m.kind for m in there.chat.messages if m.kind == "inventory.doubtful"]
        held = service.engine.ctx.world.incident_of("web", "")
        assert held is not None
        assert "launch_breaker" in held.held

    there.live(story)


def test_a_machine_that_is_not_listed_yet_is_no_broken_list() -> None:
    """The first machine of a fleet appears in the cloud's list later than in its answer: nobody is alarmed."""
    there = stage(settings(fleet(1)))

    class Late(FakeCloud):
        async def inventory(self):  # type: ignore[no-untyped-def]  # as the port says
            return [
                m
                for m in await super().inventory()
                if self._world.clock.boot > self._world.machines[m.id].launched + 30
            ]

    there.make_cloud = Late

    async def story(service: Service, world: World) -> None:
        await calm(service, world, 300)

    there.live(story)
    assert [] == [m.text for m in there.chat.messages if m.kind.startswith("inventory.")]
    assert 1 == len(launches(there.world))


def boot(there: Stage) -> None:
    """Let a fleet come up and prove itself."""

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == 3, 3600)

    there.live(story)
    there.world.calls.clear()


def test_an_older_copy_of_the_journal_stops_and_asks() -> None:
    """Machines carry numbers that this journal has not counted to: nothing is touched until a person has looked."""
    there = stage(settings(fleet(3)))
    copy = there.store.load()
    boot(there)
    there.store = MemoryStore(next(r.uid for r in copy if isinstance(r, Identity)))
    there.store.commit(copy, [])

    async def story(service: Service, world: World) -> None:
        await asyncio.sleep(120)
        assert [RESTORED] == [h.name for h in service.engine.ctx.world.all(Holder)]
        assert [] == world.calls
        told = [m.text for m in there.chat.messages if m.kind == "journal.restored"]
        assert 1 == len(told)
        assert "older copy" in told[0]
        assert f"sickbay resume --name {RESTORED}" in told[0]
        assert (await ask(service, Resume(RESTORED))).ok
        await calm(service, world)
        await asyncio.sleep(120)
        assert [] == list(service.engine.ctx.world.all(Holder))

    there.live(story)
    assert [] == launches(there.world)
    assert [] == removals(there.world)


def one_too_many(world: World, tags: tuple[tuple[str, str], ...]) -> str:
    """Add a machine that runs outside the load balancer."""
    known = world.machines[min(world.machines)]
    extra = SimMachine("i-extra", "web", "a", known.image, known.version, "127.9.9.9", "", tags, world.clock.boot, 5.0)
    world.machines[extra.id] = extra
    return extra.id


def test_one_that_we_launched_and_nobody_needs_is_kept_aside_and_never_destroyed_at_once() -> None:
    """A journal lost between two launches leaves one too many: it ends as a quarantine does, unless somebody holds it."""
    there = stage(settings(fleet(3)))
    boot(there)

    async def story(service: Service, world: World) -> None:
        name = one_too_many(world, (("sickbay:fleet", "web"), ("sickbay:launch-id", "t-lost")))
        await asyncio.sleep(500)
        assert name not in {i.id for i in instances(service)}
        await until(lambda: name in {i.id for i in instances(service, Lifecycle.BOOT_FAILED)}, 300)
        kept = service.engine.ctx.world.need(Quarantine, name)
        assert "surplus" in kept.cause
        await asyncio.sleep(3600)

    there.live(story)
    assert [] == there.world.calls


def test_one_that_somebody_else_made_is_left_alone() -> None:
    """It carries the fleet's tag, as a template gives it, but no launch of ours: a person's, and none of our business."""
    there = stage(settings(fleet(3)))
    boot(there)

    async def story(service: Service, world: World) -> None:
        name = one_too_many(world, (("sickbay:fleet", "web"),))
        await asyncio.sleep(7200)
        assert name not in {i.id for i in instances(service)}
        assert 1 == len([m for m in there.chat.messages if "left alone" in m.text])

    there.live(story)
    assert [] == there.world.calls


def test_what_is_found_isolated_is_kept_as_if_we_had_done_it() -> None:
    """A journal from before an isolation: the cloud is believed, the slot is filled, nobody is put back."""
    there = stage(settings(fleet(3)))
    boot(there)

    async def story(service: Service, world: World) -> None:
        name = instances(service)[0].id
        world.machines[name].isolated, world.machines[name].registered_at = True, None
        await until(lambda: name in {i.id for i in instances(service, Lifecycle.QUARANTINED)}, 120)
        await calm(service, world)

    there.live(story)
    assert 1 == len(launches(there.world))


def test_one_in_quarantine_that_somebody_opened_is_told_and_left_to_them() -> None:
    """It is not isolated again behind a person's back."""
    there = stage(settings(fleet(3)))
    boot(there)

    async def story(service: Service, world: World) -> None:
        name = instances(service)[0].id
        world.behave(name, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 300)
        await calm(service, world)
        await asyncio.sleep(300)
        world.calls.clear()
        world.machines[name].isolated = False
        await asyncio.sleep(300)
        assert 1 == len([m for m in there.chat.messages if "somebody has changed that" in m.text])
        assert [] == world.calls

    there.live(story)


def test_after_a_start_the_cloud_is_asked_before_the_journal_is_obeyed() -> None:
    """A step that was under way when the daemon died is sent again only once the cloud has shown its machines."""
    there = stage(settings(fleet(1)))
    life = there.live(_until_launch, kill_at=_point_of_launch(there))
    assert life.points[-1].startswith("launch")
    there.world.cloud_down = True

    async def story(service: Service, world: World) -> None:
        before = len(world.calls)
        await asyncio.sleep(120)
        assert before == len(world.calls)
        world.cloud_down = False
        await calm(service, world)

    there.live(story)
    assert 1 == len(there.world.machines)


async def _until_launch(service: Service, world: World) -> None:
    await calm(service, world, 300)


def _point_of_launch(there: Stage) -> int:
    rehearsal = stage(there.settings)
    return next(n for n, point in enumerate(rehearsal.live(_until_launch).points) if point == "launch before")


def test_the_offer_is_kept_for_a_start_without_the_cloud() -> None:
    """What was resolved once is in the journal, with the configuration that it answers; a changed recipe replaces it."""
    policy = fleet(1, placements=PLACES, recipe=RECIPE, terms="ec2 1.0.0 {}")
    there = stage(settings(policy))

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        assert policy.offer == service.engine.ctx.world.need(Offering, "web").offer

    there.live(story)
    newer = (("template", "lt-1"), ("template_version", "8"))
    there.settings = settings(replace(policy, recipe=newer, desired=2))

    async def grown(service: Service, world: World) -> None:
        await calm(service, world)

    there.live(grown)
    assert [RECIPE, newer] == [r.spec[:2] for r in launches(there.world)]


def test_a_persons_machine_is_not_put_into_service_though_a_slot_is_free() -> None:
    """It carries the fleet's tag, as the template gives it, and nobody put it into the load balancer: one is launched."""
    there = stage(settings(fleet(3)))
    boot(there)
    there.settings = settings(fleet(4))
    one_too_many(there.world, (("sickbay:fleet", "web"),))

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        assert "i-extra" not in {i.id for i in instances(service)}

    there.live(story)
    assert 1 == len(launches(there.world))
    assert there.world.machines["i-extra"].registered_at is None


def test_without_a_load_balancer_who_runs_serves() -> None:
    """Nothing tells a person's machine from one of the fleet: a fleet that is taken over is not doubled."""
    there = stage(settings(fleet(3, balanced=False)))
    boot(there)
    there.settings = settings(fleet(4, balanced=False))
    one_too_many(there.world, (("sickbay:fleet", "web"),))

    async def story(service: Service, world: World) -> None:
        await calm(service, world)
        assert "i-extra" in {i.id for i in instances(service)}

    there.live(story)
    assert [] == launches(there.world)
