"""What /metrics says: stories on virtual time with exact figures, and the format under hostile names."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from supervisor.core.engine import Engine
from supervisor.core.model import Identity, IncidentState, Instance, Record, Slot
from supervisor.core.requests import Launch, Outcome, Refused, Request
from supervisor.core.settings import FleetPolicy, Settings
from supervisor.core.signals import Pause, ReleaseFromQuarantine, SentinelReported
from supervisor.core.terms import GONE, Lifecycle, Mode
from supervisor.errors import CommitFailed
from supervisor.ports import Store, Telling, Told
from supervisor.runtime.loop import Inbox, Loop
from supervisor.runtime.service import Service
from supervisor.sim.cloud import FakeCloud
from supervisor.sim.failpoints import Commit, Journal, Life
from supervisor.sim.run import until
from supervisor.sim.time import START, VirtualClock
from supervisor.sim.world import Behaviour, World
from supervisor.store import MemoryStore
from supervisor.surfaces.metrics import OPENMETRICS as OPENMETRICS_TYPE
from supervisor.surfaces.metrics import TEXT, Metrics
from supervisor.surfaces.metrics.catalogue import Family, Kind
from supervisor.surfaces.metrics.sheet import BUCKETS, Histogram
from tests import stages
from tests.properties.test_engine import MOVES, Move, happen
from tests.scrapes import OPENMETRICS, families, scrape, watch
from tests.stages import ask, calm, incidents, instances, open_incidents, stage


async def proved(service: Service, world: World) -> None:
    """Wait until every machine has left probation."""
    await calm(service, world)
    await until(lambda: len(instances(service, Lifecycle.IN_SERVICE)) == len(world.live("web")), 3600)


# ------------------------------------------------------------------------------------------------ stories

HEALED = {
    'sickbay_fleet_state{fleet="web",sickbay_fleet_state="optimal"}': 1,
    'sickbay_fleet_state{fleet="web",sickbay_fleet_state="down"}': 0,
    'sickbay_fleet_desired{fleet="web"}': 6,
    'sickbay_fleet_serving{fleet="web"}': 6,
    'sickbay_instances{fleet="web",lifecycle="in_service",zone="a"}': 2,
    'sickbay_instances{fleet="web",lifecycle="probation",zone="a"}': 1,
    'sickbay_instances{fleet="web",lifecycle="quarantined",zone="a"}': 1,
    'sickbay_instances{fleet="web",lifecycle="in_service",zone="b"}': 3,
    'sickbay_instances_health{fleet="web",health="healthy"}': 6,
    'sickbay_instances_health{fleet="web",health="sick"}': 0,
    'sickbay_instances_health{fleet="web",health="unknown"}': 0,
    'sickbay_instances_image{fleet="web",image="img-1",status="current"}': 7,
    'sickbay_incidents{fleet="web",state="open"}': 0,
    'sickbay_incidents_opened_total{fleet="web",kind="sick"}': 1,
    'sickbay_incidents_opened_total{fleet="web",kind="vanished"}': 0,
    'sickbay_incidents_resolved_total{fleet="web",kind="sick",resolution="replaced"}': 1,
    'sickbay_incidents_resolved_total{fleet="web",kind="missing",resolution="filled"}': 1,
    'sickbay_incidents_escalated_total{fleet="web",kind="sick"}': 0,
    'sickbay_incident_detection_seconds_sum{fleet="web",kind="sick"}': 20.15,
    'sickbay_incident_detection_seconds_bucket{fleet="web",kind="sick",le="15.0"}': 0,
    'sickbay_incident_detection_seconds_bucket{fleet="web",kind="sick",le="30.0"}': 1,
    'sickbay_incident_detection_seconds_bucket{fleet="web",kind="sick",le="+Inf"}': 1,
    'sickbay_incident_recovery_seconds_sum{fleet="web",kind="sick"}': 62.8,
    'sickbay_incident_recovery_seconds_bucket{fleet="web",kind="sick",le="60.0"}': 0,
    'sickbay_incident_recovery_seconds_bucket{fleet="web",kind="sick",le="120.0"}': 1,
    'sickbay_incident_recovery_seconds_count{fleet="web",kind="sick"}': 1,
    'sickbay_removals_total{fleet="web",zone="a"}': 1,
    'sickbay_removals_total{fleet="web",zone="b"}': 0,
    'sickbay_launches_total{fleet="web",outcome="done",zone="a"}': 4,
    'sickbay_launches_total{fleet="web",outcome="done",zone="b"}': 3,
    'sickbay_steps_total{fleet="web",outcome="done",verb="isolate"}': 1,
    'sickbay_steps_total{fleet="web",outcome="done",verb="warm"}': 7,
    'sickbay_step_duration_seconds_sum{fleet="web",verb="isolate"}': 0.1,
    'sickbay_quarantined{fleet="web"}': 1,
    'sickbay_slots_needing_human{fleet="web"}': 0,
    'sickbay_amnesty_clean_rounds{fleet="web"}': 2,
    'sickbay_results_total{check="alive",fleet="web",role="liveness",status="warning"}': 0,
    'sickbay_fleet_info{environment="",fleet="web",image="img-1",mode="auto",version="1.0.0"}': 1,
    'sickbay_outbox_waiting{surface="chat"}': 0,
    "sickbay_blind": 0,
    "sickbay_pause_holders": 0,
    "sickbay_store_refuses": 0,
}


def test_a_crash_that_is_healed_is_told_in_exact_figures() -> None:
    """Six machines boot, one crashes and is replaced: every counter, gauge and bucket that this moves."""
    there = stage()
    found: dict[str, float] = {}

    async def story(service: Service, world: World) -> None:
        metrics = watch(service)
        await proved(service, world)
        results = scrape(metrics)
        assert 0 == results['sickbay_results_total{check="alive",fleet="web",role="liveness",status="unknown"}']
        world.crash(instances(service)[0].id)
        await until(lambda: bool(incidents(service)), 60)
        await calm(service, world)
        found.update(scrape(metrics))
        assert len(there.chat.messages) == found['sickbay_outbox_delivered_total{surface="chat"}']
        assert len(there.commits) == found["sickbay_commits_total"]

    there.live(story)

    assert {name: pytest.approx(value) for name, value in HEALED.items()} == {name: found[name] for name in HEALED}


def test_a_held_incident_counts_its_guard_once_and_not_each_step() -> None:
    """Ten minutes of observing one crash: one refusal by `mode`; a pause on top is one of its own, and a restart none."""
    there = stage()

    async def boot(service: Service, world: World) -> None:
        await proved(service, world)

    there.live(boot)
    there.settings = stages.settings(mode=Mode.OBSERVE)
    mode, pause = (f'sickbay_guard_refusals_total{{fleet="web",guard="{guard}"}}' for guard in ("mode", "pause"))

    async def story(service: Service, world: World) -> None:
        metrics = watch(service)
        await asyncio.sleep(60)
        world.crash(instances(service)[0].id)
        await until(lambda: bool(open_incidents(service)), 120)
        await asyncio.sleep(600)
        found = scrape(metrics)
        assert 1 == found[mode]
        assert 1 == found['sickbay_incidents_held{fleet="web",guard="mode"}']
        assert (await ask(service, Pause("ada"))).ok
        await asyncio.sleep(60)
        found = scrape(metrics)
        assert (1, 1) == (found[mode], found[pause])
        assert 1 == found["sickbay_pause_holders"]
        assert 1 == found['sickbay_incidents{fleet="web",state="open"}']

    there.live(story)

    async def sequel(service: Service, _: World) -> None:
        metrics = watch(service)
        await asyncio.sleep(600)
        found = scrape(metrics)
        assert mode not in found
        assert 1 == found['sickbay_incidents_held{fleet="web",guard="mode"}']

    there.live(sequel)


def test_an_incident_is_resolved_once_whatever_is_noted_in_it_later() -> None:
    """A sick machine is replaced and kept, then released by mistake: its failure to come back resolves nothing again."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        metrics = watch(service)
        await proved(service, world)
        victim = instances(service)[0].id
        world.behave(victim, Behaviour.ERRORS)
        await until(lambda: bool(incidents(service)), 120)
        await calm(service, world)
        assert (await ask(service, ReleaseFromQuarantine(victim))).ok
        await until(lambda: "release" in incidents(service)[0].notes[-1].text, 3600)
        await asyncio.sleep(60)
        found = scrape(metrics)
        assert 1 == found['sickbay_incidents_resolved_total{fleet="web",kind="sick",resolution="replaced"}']
        assert 1 == found['sickbay_incident_recovery_seconds_count{fleet="web",kind="sick"}']
        assert 1 == found['sickbay_steps_total{fleet="web",outcome="failed",verb="warm"}']
        assert 1 == found['sickbay_removals_total{fleet="web",zone="a"}']

    there.live(story)


def test_launches_that_never_serve_are_counted_by_what_went_wrong() -> None:
    """A refused launch, and three that boot and never pass their checks: the slot is stuck and a human is asked."""
    said: list[Outcome] = [Refused("no such image")]

    def refuse(request: Request) -> Outcome | None:
        return said.pop() if isinstance(request, Launch) and said else None

    there = stage(stages.settings(stages.fleet(1)))

    async def boot(service: Service, world: World) -> None:
        await proved(service, world)

    there.live(boot)
    there.make_cloud = lambda world, name, life: FakeCloud(world, name, life, refuse=refuse)

    async def story(service: Service, world: World) -> None:
        metrics = watch(service)
        await asyncio.sleep(60)
        world.bad_images.add("img-1")
        await until(lambda: any(i.state is IncidentState.ESCALATED for i in incidents(service)), 12 * 3600)
        found = scrape(metrics)
        assert 1 == found['sickbay_steps_total{fleet="web",outcome="refused",verb="launch"}']
        assert 2 == found['sickbay_steps_total{fleet="web",outcome="failed",verb="warm"}']
        assert 1 == found['sickbay_incidents_escalated_total{fleet="web",kind="sick"}']
        assert 1 == found['sickbay_incidents{fleet="web",state="escalated"}']
        assert 1 == found['sickbay_slots_needing_human{fleet="web"}']
        assert 2 == sum(
            value for name, value in found.items() if name.startswith("sickbay_launches_total") and "done" in name
        )

    there.live(story)


def test_surfaces_that_refuse_are_told_apart_from_those_that_take() -> None:
    """While chat is down its messages wait and grow old; when it is back, all are delivered."""
    there = stage(stages.settings(stages.fleet(1)))
    take = there.chat.tell

    async def refuse(telling: Telling) -> Told:
        raise ConnectionError(telling.messages[0].text)

    async def story(service: Service, world: World) -> None:
        metrics = watch(service)
        there.chat.tell = refuse  # type: ignore[method-assign]  # chat goes down
        await asyncio.sleep(300)
        found = scrape(metrics)
        assert found['sickbay_outbox_waiting{surface="chat"}'] > 0
        assert 240 < found['sickbay_outbox_oldest_seconds{surface="chat"}'] <= 300
        assert found['sickbay_outbox_refused_total{surface="chat"}'] > 3
        assert 0 == found['sickbay_outbox_delivered_total{surface="chat"}']
        there.chat.tell = take  # type: ignore[method-assign]  # and is back
        await asyncio.sleep(300)
        found = scrape(metrics)
        assert 0 == found['sickbay_outbox_waiting{surface="chat"}']
        assert 0 == found['sickbay_outbox_oldest_seconds{surface="chat"}']
        assert len(there.chat.messages) == found['sickbay_outbox_delivered_total{surface="chat"}']

    there.live(story)


class Full(Journal):
    """A store whose disk is full for a while."""

    def __init__(self, store: Store, world: World, life: Life, commits: list[Commit]) -> None:
        """Begin with a full disk."""
        super().__init__(store, world, life, commits)
        self.until = world.clock.boot + 5

    async def commit(self, changes: Sequence[Record], deletes: Sequence[Record]) -> None:
        """Refuse, or commit."""
        if self._world.clock.boot < self.until:
            raise CommitFailed("the disk is full")
        await super().commit(changes, deletes)


def test_a_store_that_refuses_shows_at_once_and_counts_each_refusal() -> None:
    """Five seconds of a full disk, tried again each second; nothing of what was refused is counted as done."""
    there = stage(stages.settings(stages.fleet(1)))
    there.make_journal = Full

    async def story(service: Service, world: World) -> None:
        metrics = watch(service)
        await asyncio.sleep(3)
        found = scrape(metrics)
        assert 1 == found["sickbay_store_refuses"]
        assert 3 <= found["sickbay_commits_refused_total"] <= 4
        assert 0 == found["sickbay_commits_total"]
        assert 0 == found['sickbay_incidents_opened_total{fleet="web",kind="missing"}']
        await calm(service, world)
        found = scrape(metrics)
        assert 0 == found["sickbay_store_refuses"]
        assert 1 == found['sickbay_incidents_opened_total{fleet="web",kind="missing"}']

    there.live(story)


def test_a_refused_configuration_shows_until_a_good_one_is_read() -> None:
    """The time of the one in use, whether the last try succeeded, and how many did not."""
    there = stage(stages.settings(stages.fleet(1)))

    async def story(service: Service, _: World) -> None:
        metrics = watch(service)
        await asyncio.sleep(10)
        service.notice("config.refused", "desired = many")
        await asyncio.sleep(10)
        found = scrape(metrics)
        assert (0, 1) == (found["sickbay_config_last_reload_successful"], found["sickbay_config_reloads_refused_total"])
        assert START.timestamp() == found["sickbay_config_last_reload_success_timestamp_seconds"]
        service.notice("config.loaded", "config.toml was read anew")
        await asyncio.sleep(10)
        found = scrape(metrics)
        assert (1, 1) == (found["sickbay_config_last_reload_successful"], found["sickbay_config_reloads_refused_total"])
        assert START.timestamp() + 20 == found["sickbay_config_last_reload_success_timestamp_seconds"]
        assert 1 == found['sickbay_notices_total{fleet="",kind="config.refused"}']

    there.live(story)


def test_a_blind_supervisor_and_a_silent_cloud_say_so() -> None:
    """The age of the last whole inventory goes on growing, failures count, and fresh eyes begin an amnesty."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        metrics = watch(service)
        await proved(service, world)
        world.cloud_down = True
        service.report(SentinelReported("prober", False))
        await asyncio.sleep(400)
        found = scrape(metrics)
        assert 1 == found["sickbay_blind"]
        assert 400 <= found['sickbay_inventory_age_seconds{fleet="web"}'] <= 411
        assert 40 == pytest.approx(found['sickbay_inventory_failures_total{fleet="web"}'], abs=1)
        world.cloud_down = False
        service.report(SentinelReported("prober", True))
        await until(lambda: 2 > scrape(metrics)['sickbay_amnesty_clean_rounds{fleet="web"}'], 120)  # sight must stay

    there.live(story)


# ------------------------------------------------------------------------------------------------ what always holds


@settings(max_examples=6, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(MOVES)
def test_whatever_happens_the_figures_are_sound(moves: list[Move]) -> None:
    """No label is an instance's id, no counter falls, the census is what a recount gives, and both formats parse."""
    there = stage()

    async def story(service: Service, world: World) -> None:
        metrics = watch(service)
        await calm(service, world)
        before: dict[str, float] = {}
        for move in moves:
            await asyncio.sleep(move.after)
            await happen(move, service, world, set())
            await asyncio.sleep(60)
            found = scrape(metrics)
            counters = {name: value for name, value in found.items() if is_counted(name)}
            assert [] == [name for name, value in before.items() if counters[name] < value]
            before = counters
            known = service.engine.ctx.world
            recount = Counter((i.lifecycle, i.zone, i.image) for i in known.all(Instance) if i.lifecycle not in GONE)
            assert recount == known.census["web"]
            assert {s.number for s in known.all(Slot) if s.needs_human} == known.stuck_slots["web"]
            ids = {instance.id for instance in known.all(Instance)} | world.machines.keys()
            for accept in ("", OPENMETRICS):
                values = {v for f in families(metrics, accept) for s in f.samples for v in s.labels.values()}
                assert [] == [value for value in values if any(id in value for id in ids)]

    there.live(story)


def is_counted(series: str) -> bool:
    """Return whether a series may only rise."""
    name = series.partition("{")[0]
    return name.startswith("sickbay_") and name.endswith(("_total", "_count", "_sum", "_bucket"))


class Idle:
    """A service that does nothing: an engine with a loop around it that never turns."""

    def __init__(self, engine: Engine) -> None:
        """Wire what metrics read."""
        self.engine = engine
        self.inbox = Inbox()
        self.loop = Loop(
            engine, Journal(MemoryStore(), World(VirtualClock()), Life(), []), VirtualClock(), self.inbox, print, print
        )
        self.busy = 0
        self.executor = self
        self.outbox = self
        self.delivered: dict[str, int] = {}
        self.refused: dict[str, int] = {}


@settings(max_examples=40)
@given(
    fleet=st.text(max_size=20),
    zone=st.text(st.characters(), max_size=20),
    image=st.text(st.characters(), max_size=20),
)
def test_hostile_names_cannot_break_the_format(fleet: str, zone: str, image: str) -> None:
    """Quotes, backslashes, newlines, braces, even bytes that are no text: each stays one label value of one series."""
    policy = FleetPolicy(fleet, 1, image, zone, (zone,), (), (), environment=zone)
    records: list[Record] = [
        Identity("u", 0, START),
        Slot(fleet, 0, "i-1"),
        Instance("i-1", fleet, Lifecycle.IN_SERVICE, 0, image, zone, zone, "", START, START),
    ]
    engine = Engine(records, Settings(Mode.AUTO, {fleet: policy}), VirtualClock().now())
    metrics = Metrics(Idle(engine), {})

    def readable(text: str) -> str:
        return text.encode("utf-8", "backslashreplace").decode()

    for accept in ("", OPENMETRICS):
        samples = [s for f in families(metrics, accept) for s in f.samples]
        serving = [s.labels for s in samples if s.name == "sickbay_fleet_serving"]
        one = [s for s in samples if s.name == "sickbay_instances" and s.value]
        assert [{"fleet": readable(fleet)}] == serving
        assert [{"fleet": readable(fleet), "lifecycle": "in_service", "zone": readable(zone)}] == [
            s.labels for s in one
        ]


# ------------------------------------------------------------------------------------------------ the format

ACCEPTS = {
    "nothing said": ("", TEXT),
    "a browser": ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
    "curl": ("*/*", TEXT),
    "an old Prometheus": ("text/plain;version=0.0.4;q=1,*/*;q=0.1", TEXT),
    "Prometheus": (
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
        OPENMETRICS_TYPE,
    ),
    "OpenMetrics alone": ("application/openmetrics-text", OPENMETRICS_TYPE),
    "text before OpenMetrics": ("application/openmetrics-text;q=0.2,text/plain", TEXT),
    "OpenMetrics refused": ("application/openmetrics-text;q=0", TEXT),
    "a weight that is no number": ("application/openmetrics-text;q=high", TEXT),
    "nonsense": (";;,,=;q=,", TEXT),
}


@pytest.mark.parametrize("name", ACCEPTS)
def test_the_accept_header_chooses_the_format(name: str) -> None:
    """OpenMetrics for those who ask for it, the text format for everyone else, never an error."""
    accept, expected = ACCEPTS[name]
    metrics = Metrics(Idle(Engine([Identity("u", 0, START)], Settings(Mode.AUTO, {}), VirtualClock().now())), {})

    body, content_type = metrics.render(accept)

    assert expected == content_type
    assert body.endswith(b"# EOF\n") == (expected == OPENMETRICS_TYPE)


class Host:
    """What the daemon knows of a check host."""

    def __init__(self, restarts: int, *, alive: bool, **said: Any) -> None:
        """Have figures of one check in flight, or what it said instead."""
        self.alive, self.restarts = alive, restarts
        self.last = {"started": 9, "missed": 2, "in_flight": 1, "loop_lag": 0.1, "lag_p99": 0.2, "lag_max": 0.3, **said}


HOSTS: dict[str, tuple[Host, dict[str, float]]] = {
    "not started: not there": (Host(-1, alive=False), {}),
    "alive: up, with its figures": (
        Host(0, alive=True),
        {"check_host_up": 1, "check_host_restarts_total": 0, "checks_started_total": 9, "checks_missed_total": 2,
         "checks_in_flight": 1, "check_host_loop_lag_seconds": 0.1, "check_lag_p99_seconds": 0.2, "check_lag_max_seconds": 0.3},
    ),
    "a liar: up, and only what is a number": (
        Host(0, alive=True, started="many", missed=10**400, in_flight=float("nan"), loop_lag=None, lag_p99=[], lag_max=1),
        {"check_host_up": 1, "check_host_restarts_total": 0, "check_lag_max_seconds": 1},
    ),
    "dead: down, and no stale figures": (Host(3, alive=False), {"check_host_up": 0, "check_host_restarts_total": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTS)
def test_check_hosts_show_as_they_are(name: str) -> None:
    """A host that was never needed is no dead host, and a dead one's last figures are no news."""
    host, expected = HOSTS[name]
    engine = Engine([Identity("u", 0, START)], Settings(Mode.AUTO, {}), VirtualClock().now())

    found = scrape(Metrics(Idle(engine), {"prober": host}))

    assert {f'sickbay_{key}{{host="prober"}}': value for key, value in expected.items()} == {
        key: value for key, value in found.items() if "host=" in key
    }


DURATIONS = {
    "a negative one, of a clock set back": (-5.0, 0, 0.0),
    "none at all": (0.0, 0, 0.0),
    "exactly a bound belongs below it": (30.0, BUCKETS.index(30), 30.0),
    "beyond the last": (8000.0, len(BUCKETS), 8000.0),
}


@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_falls_into_one_bucket(name: str) -> None:
    """Bounds are inclusive, as Prometheus means `le`."""
    seconds, bucket, total = DURATIONS[name]
    histogram = Histogram()

    histogram.observe(seconds)

    assert [bucket] == [i for i, count in enumerate(histogram.counts) if count]
    assert total == histogram.sum


def test_a_family_knows_the_names_that_a_query_may_use() -> None:
    """A histogram is asked for by its parts."""
    assert ("x_bucket", "x_sum", "x_count") == Family("x", Kind.HISTOGRAM, (), "").series
    assert ("x_sum", "x_count") == Family("x", Kind.SUMMARY, (), "").series
    assert ("x_total",) == Family("x_total", Kind.COUNTER, (), "").series
