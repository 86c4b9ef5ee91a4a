"""The checker over AWS's own log: what must be true after every run, whatever was broken and whenever a kill came.

It reads what arrived at AWS, what the journal held at that moment, and the machines as they really are. It knows nothing
of how the daemon decides. The names are those of supervisor/sim/invariants.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from supervisor.core.guards import floors
from supervisor.core.journal import Step, StepStatus, Workflow, WorkflowState
from supervisor.core.model import Incident, IncidentKind, IncidentState, Instance, Quarantine
from supervisor.core.requests import Done, Launch
from supervisor.core.settings import Guards, Judgement
from supervisor.core.terms import Lifecycle
from tests.ec2.evidence import Evidence, Intent, Seen, Truth

SECRETS = (b"CANARY",)
BORN_WITH = frozenset({"sickbay:fleet", "sickbay:incident", "sickbay:launch-id", "sickbay:supervisor"})
EVIDENCE_BORN_WITH = frozenset({"sickbay:fleet", "sickbay:instance"})
"""What a snapshot carries from its first moment: whose it is."""

SERVES = {"RegisterTargets": {"register"}, "DeregisterTargets": {"deregister", "isolate"}}
KEEPS = {"capture", "isolate", "restore", "stop", "terminate"}
EXPLAINED: dict[str, set[str]] = SERVES | {
    "RunInstances": {"launch"},
    "ModifyInstanceAttribute": KEEPS,
    "ModifyNetworkInterfaceAttribute": {"isolate", "restore"},
    "CreateTags": {"register", "deregister", "mark", "restart", "sweep"} | KEEPS,
    "DeleteTags": {"register", "deregister", "mark"} | KEEPS,
    "CreateSnapshots": {"isolate", "capture"},
    "CreateSnapshot": {"isolate", "capture"},
    "DetachInstances": {"isolate"},
    "TerminateInstances": {"terminate"},
    "StopInstances": {"stop"},
    "StartInstances": {"restore", "restart"},
    "RebootInstances": {"restart"},
    "DeleteVolume": {"sweep"},
    "DeleteSnapshot": {"sweep"},
    "DeleteNetworkInterface": {"sweep"},
}
"""Which requests may lead to which calls; a call that is not here has no business in this program."""

WELCOME = frozenset({"RegisterTargets", "CreateTags"})
"""What is done to a machine that is well: it is brought in."""
REMOVES = frozenset({"DeregisterTargets", "ModifyNetworkInterfaceAttribute", "StopInstances", "TerminateInstances"})


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that was broken, and how."""

    invariant: str
    sentence: str


Check = Callable[[Evidence], Iterator[Violation]]


def every_incident_ends(e: Evidence) -> Iterator[Violation]:
    """I1: every incident is closed, or with a human, in the end."""
    for incident in e.of(Incident):
        if incident.state not in (IncidentState.CLOSED, IncidentState.ESCALATED):
            yield Violation("I1", f"incident {incident.id} is {incident.state}: {incident.cause}")


def one_machine_for_one_launch(e: Evidence) -> Iterator[Violation]:
    """I2: a launch made one machine; a workflow and an incident have one live one; the journal knows all of them."""
    ours = [m for m in e.machines.values() if m.id not in e.foreign]
    by_launch = Counter(m.tags["sickbay:launch-id"] for m in ours if "sickbay:launch-id" in m.tags)
    for launch, count in by_launch.items():
        if count > 1:
            yield Violation("I2", f"launch {launch} made {count} machines")
    known = {i.id: i for i in e.of(Instance)}
    for machine in ours:
        if machine.lives and "sickbay:launch-id" in machine.tags and machine.id not in known:
            yield Violation("I2", f"{machine.id} lives, and the journal does not know it")
    failed = {i.id for i in known.values() if i.lifecycle is Lifecycle.BOOT_FAILED}
    alive = {m.id for m in ours if m.lives} - failed
    made: dict[str, set[str]] = defaultdict(set)
    several = (IncidentKind.MISSING, IncidentKind.SHARED)  # of the first boot, and those added in a storm
    healings = {str(i.id) for i in e.of(Incident) if i.kind not in several}
    for step in e.of(Step):
        if isinstance(step.request, Launch) and isinstance(step.outcome, Done):
            made[f"workflow {step.workflow}"].add(step.outcome.instance)
    for machine in ours:
        if machine.tags.get("sickbay:incident", "") in healings:
            made[f"incident {machine.tags['sickbay:incident']}"].add(machine.id)
    for whose, names in made.items():
        if len(names & alive) > 1:
            yield Violation("I2", f"{whose} has {len(names & alive)} live machines: {', '.join(sorted(names & alive))}")


def only_the_ill_are_touched(e: Evidence) -> Iterator[Violation]:
    """I3: a machine that was never ill is brought in, and then left alone; unless it never served, or somebody asked."""
    served = {i.id for i in e.of(Instance) if i.served}
    for call in e.calls:
        if call.action in WELCOME:
            continue
        for name in sorted(call.touched & served - e.ill - e.asked):
            yield Violation("I3", f"{call.action} of {name}, which was never ill")


def kept_for_its_time(e: Evidence) -> Iterator[Violation]:
    """I4: nothing is destroyed before its snapshot is complete and its time is over, unless somebody asked."""
    kept = {q.instance: q for q in e.of(Quarantine)}
    for call in e.effects:
        if call.action != "TerminateInstances":
            continue
        for name in sorted(call.touched):
            record = kept.get(name)
            if record is None:
                yield Violation("I4", f"{name} was destroyed without having been kept")
            elif name not in e.asked and call.entry.at < record.expires_at.timestamp():
                yield Violation("I4", f"{name} was destroyed before {record.expires_at}")
            if name in call.unsnapped and not _waived(call, name):
                yield Violation("I4", f"{name} was destroyed before its snapshot was complete")


def quarantined_never_serve(e: Evidence) -> Iterator[Violation]:
    """I5: what is in quarantine is isolated, protected, out of the load balancer, and never registered."""
    for instance in e.of(Instance):
        machine = e.machines.get(instance.id)
        if instance.lifecycle is not Lifecycle.QUARANTINED or machine is None or not machine.lives:
            continue
        if not machine.is_isolated:
            yield Violation("I5", f"{machine.id} is in quarantine, but not isolated: {_groups(machine)}")
        if not machine.protected:
            yield Violation("I5", f"{machine.id} is in quarantine, but not protected")
        if machine.target:
            yield Violation("I5", f"{machine.id} is in quarantine, and registered ({machine.target})")
    for call in e.calls:
        if call.action == "RegisterTargets":
            for name in sorted(call.touched & call.kept - e.asked):
                yield Violation("I5", f"{name} was registered out of quarantine")


def proved_before_serving(e: Evidence) -> Iterator[Violation]:
    """I6: a machine is registered only after it has answered often enough."""
    need = Judgement().startup_passes
    for call in e.effects:
        if call.action != "RegisterTargets":
            continue
        for name in sorted(call.touched):
            passes = (call.served or {}).get(name, 0)
            if passes < need:
                yield Violation("I6", f"{name} was registered after {passes} passes, {need} are needed")


def above_the_floor(e: Evidence) -> Iterator[Violation]:
    """I7: our own acts never take a machine that serves well, when too few others do."""
    lb, serving = floors(e.desired, Guards().lb_floor, Guards().serving_floor)
    for call in e.effects:
        lost = call.touched & call.healthy
        if call.action not in REMOVES or not lost:
            continue
        floor = lb if call.action == "DeregisterTargets" else serving
        left = len(call.healthy - lost - e.foreign)
        if left < floor:
            yield Violation("I7", f"{call.action} of {', '.join(sorted(lost))} left {left} serving, floor {floor}")


def intent_before_effect(e: Evidence) -> Iterator[Violation]:
    """I8: when a call arrives, the journal holds the request that explains it, committed."""
    for call in e.calls:
        allowed = EXPLAINED.get(call.action)
        if allowed is None:
            yield Violation("I8", f"{call.action} has no business in this program")
        elif not any(i.verb in allowed and _names(call, i) for i in call.intents):
            yield Violation("I8", f"{call.action} of {_subject(call)} arrived before its intent was committed")


def one_token_one_effect(e: Evidence) -> Iterator[Violation]:
    """I9: one token carries one set of parameters for ever, and AWS never sees it with others."""
    first: dict[str, object] = {}
    for call in e.calls:
        if call.action == "RunInstances":
            token = str(call.entry.params.get("ClientToken", ""))
            if not token:
                yield Violation("I9", "a launch had no token")
            if first.setdefault(token, call.entry.params) != call.entry.params:
                yield Violation("I9", f"token {token} was sent with two sets of parameters")
        if call.entry.answer == "IdempotentParameterMismatch":
            yield Violation("I9", f"{call.action} was answered with IdempotentParameterMismatch")


def tagged_at_birth(e: Evidence) -> Iterator[Violation]:
    """I12: everything that is made carries from its first moment whose it is, and why."""
    for call in e.calls:
        wanted: dict[str, frozenset[str]] = {}
        if call.action == "RunInstances":
            wanted = dict.fromkeys(("instance", "volume", "network-interface"), BORN_WITH)
        elif call.action.startswith("CreateSnapshot"):
            wanted = {"snapshot": EVIDENCE_BORN_WITH}
        for kind, tags in wanted.items():
            specs = call.entry.params.get("TagSpecifications", [])
            found = {t["Key"] for s in specs if s["ResourceType"] == kind for t in s["Tags"]}
            if tags - found:
                yield Violation("I12", f"{call.action} makes a {kind} without {', '.join(sorted(tags - found))}")


def foreign_machines_are_left_alone(e: Evidence) -> Iterator[Violation]:
    """I13: nothing is ever done to what is not ours."""
    for call in e.calls:
        for name in sorted(call.touched & e.foreign):
            yield Violation("I13", f"{call.action} of {name}, which is not ours")


def no_secrets(e: Evidence) -> Iterator[Violation]:
    """I15: no secret is in a log, in the database, or in what the daemon says of itself."""
    for name, text in e.texts.items():
        for secret in SECRETS:
            if secret in text:
                yield Violation("I15", f"{name} holds {secret.decode()}")


def converged(e: Evidence) -> Iterator[Violation]:
    """I18: in the end the fleet serves as wanted, nothing is unclear, nothing is under way."""
    for step in e.of(Step):
        if step.status is StepStatus.UNCLEAR:
            yield Violation("I18", f"step {step.name} of workflow {step.workflow} is still unclear")
    for workflow in e.of(Workflow):
        if workflow.state is WorkflowState.RUNNING:
            yield Violation("I18", f"workflow {workflow.id} ({workflow.kind}) still runs")
    serving = [m.id for m in e.machines.values() if m.target == "healthy" and m.id not in e.foreign]
    if len(serving) < e.desired:
        yield Violation("I18", f"{len(serving)} of {e.desired} serve")


def no_doubled_snapshots(e: Evidence) -> Iterator[Violation]:
    """I21: what has no token of its own at AWS is looked for before it is made."""
    for machine in e.machines.values():
        if machine.snapshots > 1:
            yield Violation("I21", f"a volume of {machine.id} has {machine.snapshots} snapshots")


def _names(call: Seen, intent: Intent) -> bool:
    if call.action == "RunInstances":
        return bool(intent.request.get("token") == call.entry.params.get("ClientToken"))
    return intent.instance in call.touched


def _subject(call: Seen) -> str:
    return ", ".join(sorted(call.touched)) or "nothing"


def _waived(call: Seen, name: str) -> bool:
    return any(i.verb == "terminate" and i.instance == name and i.request.get("waived") for i in call.intents)


def _groups(machine: Truth) -> str:
    return "; ".join(", ".join(sorted(groups)) for groups in machine.groups)


SAFETY: tuple[Check, ...] = (
    one_machine_for_one_launch,
    only_the_ill_are_touched,
    kept_for_its_time,
    quarantined_never_serve,
    proved_before_serving,
    above_the_floor,
    intent_before_effect,
    one_token_one_effect,
    tagged_at_birth,
    foreign_machines_are_left_alone,
    no_secrets,
    no_doubled_snapshots,
)
LIVENESS: tuple[Check, ...] = (every_incident_ends, converged)


def check(evidence: Evidence, *, ended: bool = True) -> list[Violation]:
    """Return everything that was broken; `ended` also demands what must come true in the end."""
    checks = SAFETY + LIVENESS if ended else SAFETY
    return [violation for one in checks for violation in one(evidence)]


def quiescent(calls: Sequence[Seen]) -> list[Violation]:
    """I19: restarting a converged daemon changes nothing, nor even tries."""
    return [Violation("I19", f"{c.action} of {_subject(c)} after the restart of a converged daemon") for c in calls]
