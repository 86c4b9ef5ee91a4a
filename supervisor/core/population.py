"""Who is sick in a fleet, counted by everything that machines share: kept with each edge, never recounted.

    (label, value) -> members, and how many of them are sick of which symptom

Owned by the fleet's `Investigation`; `explaining` weighs its counts. A machine that was removed while it was sick stays
counted for a while: whoever is carried out of a burning house has not left the fire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from supervisor.core.machine import Machine, MachineState
from supervisor.core.model import Instance
from supervisor.core.signature import Symptom
from supervisor.core.terms import BootTime, Seconds

COHORT: Seconds = 1800.0
"""Machines that were made in the same half hour are one cohort."""
ZONE, IMAGE, LAUNCHED = "zone", "image", "cohort"
ZONES = "zones"
"""What several zones that are out at once are called; no machine carries it."""


class Label(NamedTuple):
    """Something that a machine shares with others."""

    name: str
    value: str


class Group(NamedTuple):
    """The machines of one label: how many, how many of them sick, and of what."""

    label: Label
    total: int
    sick: int
    symptoms: Mapping[Symptom, int]


class Counts(NamedTuple):
    """A population, or what is left of it, at one moment. `groups` are those with anybody sick, in order."""

    total: int
    sick: int
    symptoms: Mapping[Symptom, int]
    groups: tuple[Group, ...]


@dataclass(slots=True, eq=False)
class Kind:
    """All machines that share all they share, in order of arrival: who is picked does not depend on luck."""

    labels: tuple[Label, ...]
    names: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Member:
    """One machine."""

    kind: Kind
    machine: Machine | None
    image: str
    symptom: Symptom | None = None
    since: BootTime = 0.0  # when it began to count as sick
    left: bool = False

    @property
    def labels(self) -> tuple[Label, ...]:
        """What it shares with others."""
        return self.kind.labels


@dataclass(slots=True)
class _Tally:
    total: int = 0
    symptoms: Counter[Symptom] = field(default_factory=Counter)
    sick: int = 0


class Population:
    """A fleet's members by what they share. `version` rises with each change of the sick, `arrivals` with each new one."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.members: dict[str, Member] = {}
        self.sick: dict[str, None] = {}
        self.symptoms: Counter[Symptom] = Counter()
        self.version = 0
        self.arrivals = 0
        self._tallies: dict[Label, _Tally] = {}
        self._left: dict[str, None] = {}
        self._hit: dict[Label, None] = {}  # labels with anybody sick
        self._kinds: dict[tuple[Label, ...], Kind] = {}

    # -- edges

    def place(self, instance: Instance, machine: Machine | None) -> Member:
        """Count a machine in, or anew when what it shares has changed."""
        known = self.members.get(instance.id)
        if known is not None and not known.left and known.machine is machine and known.image == instance.image:
            return known
        is_over = machine is not None and machine.state is MachineState.TERMINATED
        # A cloud shows what is over without much of what it shared.
        labels = known.labels if known is not None and is_over else labels_of(instance, machine)
        if known is None:
            known = self.members[instance.id] = Member(Kind(()), machine, instance.image)
        elif known.labels == labels:
            known.machine, known.image = machine, instance.image
            self._returns(instance.id, known)
            return known
        symptom, since = known.symptom, known.since
        self._tell(instance.id, known, None)
        self._unlabel(instance.id, known)
        known.machine, known.image = machine, instance.image
        known.kind = self._kinds.setdefault(labels, Kind(labels))
        known.kind.names[instance.id] = None
        for label in labels:
            self._tallies.setdefault(label, _Tally()).total += 1
        self._tell(instance.id, known, symptom)
        known.since = since
        self._returns(instance.id, known)
        self.version += 1
        return known

    def mark(self, name: str, symptom: Symptom | None, now: BootTime) -> bool:
        """Note how a member is sick, None for not at all; return whether that is news."""
        member = self.members[name]
        if member.symptom == symptom:
            return False
        if member.symptom is None:
            member.since = now
            self.arrivals += 1
        self._tell(name, member, symptom)
        self.version += 1
        return True

    def leave(self, name: str) -> None:
        """A member was removed. One that was sick stays counted until `expire`."""
        member = self.members.get(name)
        if member is None:
            return
        if member.symptom is None:
            self._remove(name, member)
        else:
            member.left = True
            self._left[name] = None

    def expire(self, window: Seconds, now: BootTime) -> None:
        """Stop counting those who were removed longer ago than a window after they turned sick."""
        for name in [n for n in self._left if now - self.members[n].since > window]:
            self._remove(name, self.members[name])

    def forget_suspicion(self) -> None:
        """Count nobody as sick any more who is still here: an amnesty."""
        for name in [n for n in self.sick if n not in self._left]:
            self._tell(name, self.members[name], None)
        self.version += 1

    # -- counts

    def counts(self) -> Counts:
        """Return the counts as they stand."""
        hit = ((label, self._tallies[label]) for label in sorted(self._hit))
        groups = (Group(label, tally.total, tally.sick, tally.symptoms) for label, tally in hit)
        return Counts(len(self.members), len(self.sick), self.symptoms, tuple(groups))

    def without(self, gone: Mapping[str, None]) -> Counts:
        """Return the counts of those who are left when some are taken out."""
        by_label: dict[Label, Counter[Symptom]] = {}
        symptoms: Counter[Symptom] = Counter()
        for name in self.sick:
            member = self.members[name]
            if name in gone or member.symptom is None:
                continue
            symptoms[member.symptom] += 1
            for label in member.labels:
                by_label.setdefault(label, Counter())[member.symptom] += 1
        lost: Counter[Label] = Counter()
        for kind, count in Counter(self.members[name].kind for name in gone).items():
            lost.update(dict.fromkeys(kind.labels, count))
        groups = [
            Group(label, self.total(label) - lost[label], by_label[label].total(), by_label[label])
            for label in sorted(by_label)
        ]
        return Counts(len(self.members) - len(gone), symptoms.total(), symptoms, tuple(groups))

    def supposing(self, symptoms: Mapping[str, Symptom]) -> Counts:
        """Return the counts as if just these members were sick, and of this."""
        sick = {name: symptom for name, symptom in symptoms.items() if name in self.members}
        by_label: dict[Label, Counter[Symptom]] = {}
        for name, symptom in sick.items():
            for label in self.members[name].labels:
                by_label.setdefault(label, Counter())[symptom] += 1
        groups = tuple(
            Group(label, self.total(label), by_label[label].total(), by_label[label]) for label in sorted(by_label)
        )
        return Counts(len(self.members), len(sick), Counter(sick.values()), groups)

    def with_all(self, labels: Iterable[Label]) -> Mapping[str, None]:
        """Return the members who carry all of some labels: kind by kind, in the order in which they came."""
        wanted, found = frozenset(labels), dict[str, None]()
        for kind in self._kinds.values():
            if wanted.issubset(kind.labels):
                found |= kind.names
        return found

    def pairs(self, first: str, second: str) -> Iterator[tuple[Label, Label, Group]]:
        """Yield the groups of two labels at once that anybody sick is in: the image v2 in zone a."""
        found: dict[tuple[Label, Label], Counter[Symptom]] = {}
        for name in self.sick:
            member = self.members[name]
            own = {label.name: label for label in member.labels}
            if first in own and second in own and member.symptom is not None:
                found.setdefault((own[first], own[second]), Counter())[member.symptom] += 1
        for (one, other), symptoms in sorted(found.items(), key=lambda item: item[0]):
            total = len(self.with_all((one, other)))
            both = Label(f"{first} and {second}", f"{one.value} and {other.value}")
            yield one, other, Group(both, total, symptoms.total(), symptoms)

    def sick_with(self, label: Label) -> frozenset[str]:
        """Return the sick who carry a label."""
        return frozenset(name for name in self.sick if label in self.members[name].labels)

    def carrying(self, label: Label) -> Mapping[str, None]:
        """Return the members who carry a label."""
        return self.with_all((label,))

    def total(self, label: Label) -> int:
        """Return how many members carry a label."""
        tally = self._tallies.get(label)
        return tally.total if tally is not None else 0

    # -- bookkeeping

    def _tell(self, name: str, member: Member, symptom: Symptom | None) -> None:
        old, member.symptom = member.symptom, symptom
        if old is not None:
            self.sick.pop(name, None)
            _count(self.symptoms, old, -1)
        if symptom is not None:
            self.sick[name] = None
            _count(self.symptoms, symptom, 1)
        for label in member.labels:
            tally = self._tallies[label]
            if old is not None:
                tally.sick -= 1
                _count(tally.symptoms, old, -1)
            if symptom is not None:
                tally.sick += 1
                _count(tally.symptoms, symptom, 1)
                self._hit[label] = None
            elif not tally.sick:
                self._hit.pop(label, None)

    def _returns(self, name: str, member: Member) -> None:
        member.left = False
        self._left.pop(name, None)

    def _unlabel(self, name: str, member: Member) -> None:
        kind = member.kind
        kind.names.pop(name, None)
        if kind.labels and not kind.names:
            del self._kinds[kind.labels]
        for label in kind.labels:
            self._tallies[label].total -= 1
            if not self._tallies[label].total:
                del self._tallies[label]

    def _remove(self, name: str, member: Member) -> None:
        self._tell(name, member, None)
        self._unlabel(name, member)
        self._left.pop(name, None)
        del self.members[name]
        self.version += 1


def labels_of(instance: Instance, machine: Machine | None) -> tuple[Label, ...]:
    """Return everything that a machine shares with others."""
    made = instance.created_at.timestamp()
    bucket = instance.created_at.fromtimestamp(made - made % COHORT, instance.created_at.tzinfo)
    own = (
        Label(ZONE, instance.zone),
        Label(IMAGE, instance.version or instance.image),
        Label(LAUNCHED, f"{bucket:%Y-%m-%d %H:%M}"),
    )
    others = machine.labels if machine is not None else ()
    return own + tuple(Label(name, value) for name, value in others if name not in (ZONE, IMAGE, LAUNCHED) and value)


def _count(counter: Counter[Symptom], symptom: Symptom, by: int) -> None:
    counter[symptom] += by
    if not counter[symptom]:
        del counter[symptom]
