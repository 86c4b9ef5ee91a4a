"""Quarantine: a machine is cut off and kept, and can be brought back exactly as it was.

The order of `isolate`: write down what it was, protect it, detach it from its group, take it out of the load balancer,
cut its interfaces off, tag it, snapshot its disks. `restore` goes back, and clears the tag last: until then a replay
knows that it is not through.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from supervisor.core.requests import Done, Isolate, Mark, Outcome, Restore
from supervisor.providers.ec2 import undo
from supervisor.providers.ec2.balancing import take_out
from supervisor.providers.ec2.evidence import snapshot, volatile
from supervisor.providers.ec2.instance import ASIDE, Card, Instance, alive, is_cut, ours
from supervisor.providers.ec2.power import settled, start
from supervisor.providers.ec2.protection import put
from supervisor.providers.ec2.scaling import detach, leaving
from supervisor.providers.ec2.scope import EXPIRES, STATE, UNDO, Scope, refuse

UNTRACKED = 1.0  # seconds with the open group, until AWS has dropped what it tracked


def isolate(scope: Scope, request: Isolate) -> Outcome:
    """Cut a machine off and protect it from deletion. Done even if the snapshot can't be had: `detail` says so."""
    machine = alive(scope, request.instance)
    member = leaving(scope, machine)
    notes = undo.secure(scope, machine)
    detach(scope, machine, member)
    take_out(scope, machine.id, machine)
    cut_off(scope, machine)
    machine = scope.until(lambda: _isolated(scope, machine.id), f"{machine.id} does not show the isolation group yet")
    scope.tag(machine.id, {STATE: "quarantined"} | dict(request.tags), machine.tags)
    notes += snapshot(scope, machine, request.token)
    notes += volatile(scope, machine)
    return Done(instance=machine.id, detail="; ".join(["isolated, its memory and disks are kept", *notes]))


def cut_off(scope: Scope, machine: Instance) -> None:
    """Give every interface the isolation group alone; by way of the open one, so that open connections end too.

    A connection that AWS tracks survives a change of groups; one that was let through both ways is not tracked.
    """
    isolation, untrack = scope.options.isolation_group, scope.options.untrack_group
    tracked = [card for card in machine.cards if card.groups != (isolation,)]
    if not tracked:
        return
    if untrack is not None:
        for card in tracked:
            if card.groups != (untrack,):
                _put_groups(scope, card.id, (untrack,))
        time.sleep(UNTRACKED)
    for card in tracked:
        _put_groups(scope, card.id, (isolation,))


def restore(scope: Scope, request: Restore) -> Outcome:
    """Undo all of it, and start what was stopped; it stays out of the load balancer. A second time changes nothing."""
    machine = alive(scope, request.instance)
    was = undo.load(scope, machine)
    cut = [card for card in machine.cards if is_cut(card, scope.options)]
    if was is None and not machine.is_aside(scope.options):
        return Done(instance=machine.id, detail="nothing of it is set aside")
    if unknown := [card.id for card in cut if was is None or card.id not in was.cards]:
        raise refuse(
            f"{machine.id} is isolated, and neither {scope.folder / 'undo'} nor its tag {UNDO} says which security"
            f" groups {' and '.join(unknown)} had: give them back by hand, then release it again"
        )
    was_aside = machine.is_aside(scope.options)
    notes = [] if was is None else _undo(scope, machine, was, cut)
    if was_aside:
        start(scope, settled(scope, machine))
    scope.tag(machine.id, {STATE: "", EXPIRES: "", UNDO: ""}, machine.tags)
    undo.forget(scope, machine.id)
    return Done(instance=machine.id, detail="; ".join(["as it was, out of the load balancer", *notes]))


def _undo(scope: Scope, machine: Instance, was: undo.Undo, cut: list[Card]) -> list[str]:
    for card in cut:
        _put_groups(scope, card.id, was.cards[card.id])
    return put(scope, machine, was.flags, was.disks)


def mark(scope: Scope, request: Mark) -> Outcome:
    """Write what a machine is now; '' takes that back: `quarantined` where it is isolated, else nothing."""
    machine = ours(scope, request.instance)
    if machine.is_gone:
        return Done(instance=machine.id, detail=f"it is {machine.state} already: there is nothing to mark")
    aside = machine.is_aside(scope.options)
    notes: list[str] = []
    if not request.state and aside:
        # An end that was called off half-way may have lifted the protection already.
        notes = undo.secure(scope, machine)
    scope.tag(machine.id, {STATE: request.state or (ASIDE[0] if aside else "")}, machine.tags)
    return Done(instance=machine.id, detail="; ".join(notes))


def _isolated(scope: Scope, id: str) -> Instance | None:
    machine = alive(scope, id)
    return machine if machine.is_isolated(scope.options) else None


def _put_groups(scope: Scope, card: str, groups: tuple[str, ...]) -> None:
    wanted: Mapping[str, object] = {"NetworkInterfaceId": card, "Groups": list(groups)}
    scope.change("ec2", "ModifyNetworkInterfaceAttribute", **wanted)
