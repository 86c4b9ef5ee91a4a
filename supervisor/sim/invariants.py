"""The checker: what must be true after every run, whatever was broken and whenever the daemon was killed.

It reads the log of calls (as a proxy before the cloud would write it), every commit, and the world as it is. It knows
nothing of how the engine decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from supervisor.core.guards import floors
from supervisor.core.journal import Step, StepStatus, Workflow, WorkflowState
from supervisor.core.model import AuditEntry, Holder, Incident, IncidentState, Instance, Quarantine, Record
from supervisor.core.requests import (
    DESTRUCTIVE,
    Capture,
    Deregister,
    Done,
    Isolate,
    Launch,
    Mark,
    Register,
    Sweep,
    Terminate,
)
from supervisor.core.settings import Settings
from supervisor.core.terms import Lifecycle
from supervisor.sim.failpoints import Commit
from supervisor.sim.world import Call, World

REQUIRED_TAGS = {"sickbay:fleet", "sickbay:incident", "sickbay:launch-id", "sickbay:supervisor"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the checker reads. `asked` are the instances that an operator asked to be touched."""

    records: Sequence[Record]
    world: World
    commits: Sequence[Commit]
    settings: Settings
    asked: frozenset[str] = field(default_factory=frozenset)

    def of(self, kind: type) -> list[Record]:
        """Return the final records of a kind."""
        return [r for r in self.records if type(r) is kind]


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that was broken, and how."""

    invariant: str
    sentence: str


Check = Callable[[Evidence], Iterator[Violation]]


def every_incident_ends(e: Evidence) -> Iterator[Violation]:
    """I1: an incident that was committed once is closed, resolved or with a human in the end."""
    final = {r.id: r for r in e.of(Incident) if isinstance(r, Incident)}
    for commit in e.commits:
        for record in commit.changes:
            if isinstance(record, Incident) and record.id not in final:
                yield Violation("I1", f"incident {record.id} was lost")
    for incident in final.values():
        if incident.state is IncidentState.OPEN:
            yield Violation("I1", f"incident {incident.id} is still open: {incident.cause}")


def one_machine_for_one_launch(e: Evidence) -> Iterator[Violation]:
    """I2: no workflow made two machines that live, and no machine is unknown to the journal."""
    known = {r.id for r in e.of(Instance) if isinstance(r, Instance)}
    for machine in e.world.machines.values():
        if not machine.terminated and machine.id not in known:
            yield Violation("I2", f"{machine.id} lives, and the journal does not know it")
    live = [m for name in e.settings.fleets for m in e.world.live(name)]
    by_launch: dict[str, set[str]] = defaultdict(set)
    for commit in e.commits:
        for record in commit.changes:
            if isinstance(record, Step) and isinstance(record.request, Launch) and isinstance(record.outcome, Done):
                by_launch[f"{record.workflow}"].add(record.outcome.instance)
    failed = {r.id for r in e.of(Instance) if isinstance(r, Instance) and r.lifecycle is Lifecycle.BOOT_FAILED}
    for workflow, made in by_launch.items():
        alive = [m.id for m in live if m.id in made and m.id not in failed]
        if len(alive) > 1:
            yield Violation("I2", f"workflow {workflow} has {len(alive)} live machines: {', '.join(alive)}")


def only_the_ill_are_touched(e: Evidence) -> Iterator[Violation]:
    """I3: nothing is taken from a machine that was never ill, unless an operator asked, it never served, or a storm
    is over that it was launched in.
    """
    never_served = {i.id for i in _instances(e) if not i.served}
    never_served |= {r.candidate for r in e.of(Workflow) if isinstance(r, Workflow) and r.kind == "rescue"}
    for call in e.world.calls:
        request = call.request
        if not call.effect or not isinstance(request, DESTRUCTIVE):
            continue
        machine = e.world.machines.get(request.instance)
        if machine is not None and not machine.was_ill and machine.id not in e.asked | never_served:
            yield Violation("I3", f"{request.verb} of {machine.id}, which was never ill")


def kept_for_its_time(e: Evidence) -> Iterator[Violation]:
    """I4: no quarantined machine is destroyed before its time, unless an operator asked or room was needed."""
    allowed = e.asked | {r.patient for r in e.of(Workflow) if isinstance(r, Workflow) and r.kind == "purge"}
    kept = {r.instance: r for r in e.of(Quarantine) if isinstance(r, Quarantine)}
    for call in e.world.calls:
        if isinstance(call.request, Terminate) and call.effect:
            record = kept.get(call.request.instance)
            if record is None:
                yield Violation("I4", f"{call.request.instance} was destroyed without having been kept")
            elif call.request.instance not in allowed:
                yield Violation("I4", f"{call.request.instance} was destroyed before {record.expires_at}")


def announced_before_its_end(e: Evidence) -> Iterator[Violation]:
    """I4: an end that nobody asked for was announced on the machine, and the notice ran out."""
    since: dict[str, tuple[str, float]] = {}
    for call in e.world.calls:
        request = call.request
        if not call.effect:
            continue
        if isinstance(request, Mark):
            since[request.instance] = (request.state, call.at)
        elif isinstance(request, Terminate) and not request.waived:
            state, at = since.get(request.instance, ("", call.at))
            notice = e.settings.retention.notice if state == "expired" else 0.0
            if not state or call.at - at < notice:
                yield Violation("I4", f"{request.instance} was destroyed {call.at - at:.0f}s after its mark {state!r}")


def swept_when_nobodys(e: Evidence) -> Iterator[Violation]:
    """I13: nothing is swept that belongs to a machine which is there."""
    owners = {one.id: one.instance for one in e.world.ever_left}
    for call in e.world.calls:
        if isinstance(call.request, Sweep) and call.effect:
            owner = e.world.machines.get(owners[call.request.instance])
            if owner is not None and not owner.terminated:
                yield Violation("I13", f"{call.request.instance} of {owner.id} was swept")


def quarantined_never_serve(e: Evidence) -> Iterator[Violation]:
    """I5: a machine in quarantine is isolated and not registered."""
    for instance in _instances(e):
        machine = e.world.machines.get(instance.id)
        if instance.lifecycle is not Lifecycle.QUARANTINED or machine is None or machine.terminated:
            continue
        if not machine.isolated:
            yield Violation("I5", f"{instance.id} is in quarantine, but not isolated")
        if machine.registered_at is not None:
            yield Violation("I5", f"{instance.id} is in quarantine, and registered")


def proved_before_serving(e: Evidence) -> Iterator[Violation]:
    """I6: a machine is registered only after enough passes since its launch."""
    need = e.settings.judgement.startup_passes
    for call in e.world.calls:
        if isinstance(call.request, Register) and call.effect and call.passes < need:
            name = call.request.instance
            yield Violation("I6", f"{name} was registered after {call.passes} passes, {need} are needed")


def above_the_floors(e: Evidence) -> Iterator[Violation]:
    """I7: our own acts never take a serving machine below the floor."""
    for name, policy in e.settings.fleets.items():
        lb, serving_floor = floors(policy.desired, e.settings.guards.lb_floor, e.settings.guards.serving_floor)
        for call in e.world.calls:
            request = call.request
            if not call.effect or request.fleet != name or not isinstance(request, Deregister | Isolate | Terminate):
                continue
            floor = lb if isinstance(request, Deregister) else serving_floor
            if call.serving_before > call.serving_after and call.serving_after < floor:
                yield Violation(
                    "I7", f"{request.verb} of {request.instance} left {call.serving_after} serving, floor {floor}"
                )


def intent_before_effect(e: Evidence) -> Iterator[Violation]:
    """I8: every call has an intent, committed earlier, with the same request."""
    intents: list[tuple[int, Step]] = [
        (commit.order, record)
        for commit in e.commits
        for record in commit.changes
        if isinstance(record, Step) and record.request is not None
    ]
    first: dict[object, int] = {}
    for order, step in intents:
        first.setdefault(step.request, order)
    for call in e.world.calls:
        order = first.get(call.request, 1 << 60)
        if order > call.order:
            yield Violation("I8", f"{call.request.verb} was sent (order {call.order}) before its intent was committed")


def one_token_one_effect(e: Evidence) -> Iterator[Violation]:
    """I9: one token always carries one request, and makes one machine."""
    requests: dict[str, object] = {}
    for call in e.world.calls:
        known = requests.setdefault(call.request.token, call.request)
        if known != call.request:
            yield Violation("I9", f"token {call.request.token} was sent with two requests")
    launches: dict[tuple[str, str], set[str]] = defaultdict(set)
    for call in e.world.calls:
        if isinstance(call.request, Launch) and isinstance(call.outcome, Done):
            tags = dict(call.request.tags)
            launches[tags.get("sickbay:launch-id", ""), tags.get("sickbay:incident", "")].add(call.outcome.instance)
    for (launch, _), made in launches.items():
        if len(made) > 1:
            yield Violation("I9", f"launch {launch} made {len(made)} machines: {', '.join(sorted(made))}")


def tagged_at_birth(e: Evidence) -> Iterator[Violation]:
    """I12: everything that is launched carries its tags from the first byte."""
    for call in e.world.calls:
        if isinstance(call.request, Launch):
            missing = REQUIRED_TAGS - dict(call.request.tags).keys()
            if missing:
                yield Violation("I12", f"a launch lacks the tags {', '.join(sorted(missing))}")


def paused_means_still(e: Evidence) -> Iterator[Violation]:
    """I14: between a committed pause and its end nothing is changed."""
    paused: set[str] = set()
    spans: list[tuple[int, int]] = []
    began = 0
    for commit in e.commits:
        before = bool(paused)
        paused |= {r.name for r in commit.changes if isinstance(r, Holder)}
        paused -= {r.name for r in commit.deletes if isinstance(r, Holder)}
        if paused and not before:
            began = commit.order
        elif before and not paused:
            spans.append((began, commit.order))
    if paused:
        spans.append((began, 1 << 60))
    for call in e.world.calls:
        if any(start < call.order < end for start, end in spans) and call.effect:
            yield Violation("I14", f"{call.request.verb} took effect during a pause")


def everything_is_audited(e: Evidence) -> Iterator[Violation]:
    """I17: each step that acted has its line in the audit log, with an actor."""
    lines = [r for c in e.commits for r in c.changes if isinstance(r, AuditEntry)]
    acted = {(s.name, s.workflow, s.attempt) for c in e.commits for s in c.changes if isinstance(s, Step) and s.request}
    steps = sum(1 for line in lines if line.action.startswith("step."))
    if steps != len(acted):
        yield Violation("I17", f"{len(acted)} steps acted, {steps} are in the audit log")
    if any(not line.actor for line in lines):
        yield Violation("I17", "an audit line names no actor")


def converged(e: Evidence) -> Iterator[Violation]:
    """I18: in the end the fleet serves as wanted, nothing is unclear, nothing is under way."""
    for record in e.records:
        if isinstance(record, Step) and record.status is StepStatus.UNCLEAR:
            yield Violation("I18", f"step {record.name} of workflow {record.workflow} is still unclear")
        if isinstance(record, Workflow) and record.state is WorkflowState.RUNNING:
            yield Violation("I18", f"workflow {record.id} ({record.kind}) still runs")
    now = e.world.clock.boot
    for name, policy in e.settings.fleets.items():
        serving = sum(1 for m in e.world.live(name) if m.registered_at is not None and m.serves(now))
        if serving < policy.desired:
            yield Violation("I18", f"{name}: {serving} of {policy.desired} serve")


def no_doubled_snapshots(e: Evidence) -> Iterator[Violation]:
    """I21: what has no idempotency of its own is looked for before it is made."""
    taken = [call.request for call in e.world.calls if isinstance(call.request, Capture)]
    for instance, token in sorted(set(e.world.snapshots)):
        copies = e.world.snapshots.count((instance, token))
        if copies > 1:
            yield Violation("I21", f"{copies} snapshots of {instance} by one step ({len(taken)} calls)")


def _instances(e: Evidence) -> list[Instance]:
    return [r for r in e.records if isinstance(r, Instance)]


SAFETY: tuple[Check, ...] = (
    one_machine_for_one_launch,
    only_the_ill_are_touched,
    kept_for_its_time,
    announced_before_its_end,
    swept_when_nobodys,
    quarantined_never_serve,
    proved_before_serving,
    above_the_floors,
    intent_before_effect,
    one_token_one_effect,
    tagged_at_birth,
    paused_means_still,
    everything_is_audited,
    no_doubled_snapshots,
)
LIVENESS: tuple[Check, ...] = (every_incident_ends, converged)


def check(evidence: Evidence, *, ended: bool = True) -> list[Violation]:
    """Return everything that was broken; `ended` also demands what must come true in the end."""
    checks = SAFETY + LIVENESS if ended else SAFETY
    return [violation for one in checks for violation in one(evidence)]


def quiescent(calls: Sequence[Call]) -> list[Violation]:
    """I19: restarting a converged daemon changes nothing."""
    return [Violation("I19", f"{call.request.verb} after a restart of a converged daemon") for call in calls]
