"""The trial of an image whose launches fail: one control launch from the image before it tells who is at fault.

    GOOD -> (two launches fail in a row) SUSPECT -> the control serves: CONDEMNED, and the control's image is the good one
                                                 -> the control fails too: CLEARED, the place is at fault, launching stops

The control is the next attempt of the launch that failed, so that a slot never costs more than its three. Called by
the workflow where a launch fails or comes through, and by triage.
"""

from __future__ import annotations

from dataclasses import replace

from supervisor.core import incidents, plans
from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.journal import Step, Subject, Verb, Workflow
from supervisor.core.model import Image, Incident, Instance, Slot
from supervisor.core.terms import Standing


def launch_failed(ctx: Context, workflow: Workflow, why: str) -> Workflow:
    """Take a launch whose machine came up and never served; return the workflow, with its next image."""
    image = ctx.world.get(Image, workflow.fleet, workflow.image)
    suspect = ctx.suspect_image(workflow.fleet)
    if image is None:
        return workflow
    if suspect is not None and image.id != suspect.id:
        return _clear(ctx, workflow, suspect, image, why)
    slots = (ctx.world.need(Slot, workflow.fleet, n) for n in ctx.world.failing_slots[workflow.fleet])
    failures = sum(slot.failures for slot in slots)
    if suspect is not None or failures < ctx.settings.guards.launch_failures or image.standing is Standing.CLEARED:
        return workflow
    before = _predecessor(ctx, image)
    incident = ctx.world.need(Incident, workflow.incident)
    if before is None:
        if failures == ctx.settings.guards.launch_failures:
            text = (
                f"{failures} launches in a row of {_name(image)} failed, and no earlier image is known that served: "
                f"launching stops but for one try now and then ({why})"
            )
            ctx.note(incident, "incident.launches_fail", text)
        return workflow
    ctx.world.put(replace(image, standing=Standing.SUSPECT, standing_why=f"{failures} launches in a row failed: {why}"))
    text = f"{failures} launches in a row of {_name(image)} failed: one is launched from {_name(before)} to tell why"
    ctx.note(incident, "incident.step", text)
    return ctx.world.put(replace(workflow, image=before.id, version=before.version))


def launch_served(ctx: Context, fleet: Fleet, workflow: Workflow) -> None:
    """Take a launch that came through: it acquits its image, or convicts the one that it was the control for."""
    suspect = ctx.suspect_image(workflow.fleet)
    image = ctx.world.get(Image, workflow.fleet, workflow.image)
    if image is None:
        return
    if suspect is not None and image.id != suspect.id:
        why = f"{suspect.standing_why}; {_name(image)} serves in the same place"
        ctx.world.put(replace(suspect, standing=Standing.CONDEMNED, standing_why=why, last_known_good=False))
        ctx.world.put(replace(image, last_known_good=True, standing=Standing.GOOD, standing_why=""))
        text = f"{workflow.fleet}: image {_name(suspect)} is bad: {why}; machines are launched from {_name(image)}"
        ctx.say("image.condemned", text, workflow.fleet)
        for number in sorted(ctx.world.running[workflow.fleet]):
            _take_good_image(ctx, ctx.world.need(Workflow, number), suspect, image)
        fleet.dirty = True
    elif image.standing in (Standing.SUSPECT, Standing.CLEARED):
        ctx.world.put(replace(image, standing=Standing.GOOD, standing_why=""))


def watch(ctx: Context, fleet: Fleet) -> None:
    """End a trial whose control is gone without an answer: recovered, paused for ever, called off by a person."""
    suspect = ctx.suspect_image(fleet.policy.name)
    if suspect is None:
        return
    running = (ctx.world.need(Workflow, number) for number in ctx.world.running[fleet.policy.name])
    if not any(_launches(w) and w.image != suspect.id for w in running):
        ctx.world.put(replace(suspect, standing=Standing.CLEARED, standing_why="its control launch was called off"))


def _clear(ctx: Context, workflow: Workflow, suspect: Image, control: Image, why: str) -> Workflow:
    """The control failed as well: not the image, but where it is launched, or what it needs, is at fault."""
    ctx.world.put(replace(suspect, standing=Standing.CLEARED, standing_why=f"{_name(control)} failed as well: {why}"))
    text = (
        f"{_name(control)} failed as well as {_name(suspect)}: not the image, but the place or something that both "
        f"need is at fault ({why}); launching stops but for one try now and then"
    )
    incidents.escalate(ctx, ctx.world.need(Incident, workflow.incident), text)
    good = plans.last_known_good(ctx, ctx.fleets[workflow.fleet])
    return ctx.world.put(replace(workflow, image=good.id, version=good.version))


def _predecessor(ctx: Context, image: Image) -> Image | None:
    """Return the newest other image of the fleet that ever served and is not known to be bad."""
    served = {i.image for i in ctx.world.values(Instance) if i.fleet == image.fleet and i.served}
    others = [
        i
        for i in ctx.world.all(Image)
        if i.fleet == image.fleet and i.id != image.id and i.id in served and i.standing is not Standing.CONDEMNED
    ]
    return max(others, key=lambda i: (i.first_seen_at, i.id), default=None)


def _take_good_image(ctx: Context, workflow: Workflow, bad: Image, good: Image) -> None:
    """Let a launch that was not yet sent take the good image."""
    step = workflow.step
    if workflow.image != bad.id or step is None or not _launches(workflow) or workflow.candidate:
        return
    if ctx.world.get(Step, workflow.id, step.name, workflow.attempt) is None or step.verb is not Verb.LAUNCH:
        ctx.world.put(replace(workflow, image=good.id, version=good.version, retry_at=None))


def _launches(workflow: Workflow) -> bool:
    return any(step.verb is Verb.LAUNCH and step.subject is Subject.CANDIDATE for step in workflow.plan)


def _name(image: Image) -> str:
    return f"{image.version} ({image.id})" if image.version and image.version != image.id else image.id
