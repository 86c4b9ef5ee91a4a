"""What was changed lately: whatever breaks soon after is likelier to come of it.

Operators and pipelines tell of changes (`TellChange`), and the engine notes those that it sees itself: another image, a
check of another version. Read by `diagnosis`; it judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.model import Change, CheckStanding, Image
from supervisor.core.population import Label
from supervisor.core.priors import Theory
from supervisor.core.settings import FleetPolicy
from supervisor.core.terms import ChangeKind, Seconds

KEPT: Seconds = 8 * 86400.0
BY_SICKBAY = "sickbay"


@dataclass(frozen=True, slots=True)
class Recent:
    """The changes that may still show. Each maps what was changed to a sentence; '' stands for any of its kind."""

    images: dict[str, str] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    dependencies: dict[str, str] = field(default_factory=dict)
    networks: dict[str, str] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    supervisor: str = ""

    def fits(self, theory: Theory, label: Label) -> str:
        """Return the change that would explain a theory about something, '' for none."""
        match theory:
            case Theory.IMAGE:
                return self.images.get(label.value, "") or self.configs.get(label.value, "")
            case Theory.CHECK:
                return self.checks.get(label.value) or self.checks.get("", "") or self.configs.get(label.value, "")
            case Theory.DEPENDENCY:
                told = self.dependencies.get(label.value) or self.dependencies.get("", "")
                return told or self.configs.get(label.value, "")
            case Theory.ZONE | Theory.SUBNET | Theory.PATH:
                return self.networks.get(label.value) or self.networks.get("", "") or self.configs.get(label.value, "")
            case Theory.COHORT | Theory.INSTANCE:
                return ""
            case Theory.BLIND:
                return self.supervisor
            case Theory.FLEET:
                return next(iter(self.configs.values()), "")


def recent(ctx: Context, fleet: Fleet) -> Recent:
    """Return the changes to a fleet that may still show."""
    name, explaining = fleet.policy.name, ctx.settings.explaining
    found = Recent()
    supervisor = ""
    for change in ctx.world.all(Change):
        if change.fleet not in ("", name):
            continue
        age = ctx.since(change.at)
        if age > (explaining.image_window if change.kind is ChangeKind.IMAGE else explaining.change_window):
            continue
        said = f"{change.text or f'{change.kind} {change.target} was changed'} ({_ago(age)}, {change.actor})"
        match change.kind:
            case ChangeKind.IMAGE:
                found.images[change.target] = said
            case ChangeKind.CHECK:
                found.checks[change.target] = said
            case ChangeKind.DEPENDENCY:
                found.dependencies[change.target] = said
            case ChangeKind.NETWORK:
                found.networks[change.target] = said
            case ChangeKind.CONFIG:
                found.configs[change.target] = said
            case ChangeKind.SUPERVISOR:
                supervisor = said
    images = sorted((i for i in ctx.world.values(Image) if i.fleet == name), key=lambda i: (i.first_seen_at, i.id))
    for image in images[1:]:  # the first one changed nothing
        age = ctx.since(image.first_seen_at)
        if age <= explaining.image_window:
            said = found.images.get(image.id, f"image {image.version} is new ({_ago(age)})")
            found.images.setdefault(image.version, said)
            found.images.setdefault(image.id, said)
    for image in images:  # told by its id, looked up by its version
        if image.id in found.images:
            found.images.setdefault(image.version, found.images[image.id])
    if not supervisor:
        return found
    return Recent(found.images, found.checks, found.dependencies, found.networks, found.configs, supervisor)


def configured(ctx: Context, old: FleetPolicy | None, new: FleetPolicy) -> None:
    """Note which checks a new configuration has changed. At a start, their standing says what they were."""
    before = {c.name: c for c in old.checks} if old is not None else {}
    for check in new.checks:
        known = before.get(check.name)
        standing = ctx.world.get(CheckStanding, new.name, check.name)
        if old is not None and known is None:
            _note(ctx, new.name, check.name, f"check {check.name} is new")
        elif known is not None and known != check:
            _note(ctx, new.name, check.name, f"check {check.name} was changed")
        elif old is None and standing is not None and check.version and standing.version != check.version:
            _note(ctx, new.name, check.name, f"check {check.name} was changed while Sickbay was stopped")


def _note(ctx: Context, fleet: str, check: str, text: str) -> None:
    ctx.world.put(Change(ctx.world.next_id(), ctx.now.wall, ChangeKind.CHECK, check, text, BY_SICKBAY, fleet))
    for old in [c for c in ctx.world.values(Change) if ctx.since(c.at) > KEPT]:
        ctx.world.delete(old)


def _ago(seconds: Seconds) -> str:
    if seconds < 90:
        return f"{seconds:.0f}s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 5400 else f"{seconds / 3600:.0f} h ago"
