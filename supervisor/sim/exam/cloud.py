"""The cloud of the site: idempotent by token, with an API that may be down, throttled, lying or losing answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from supervisor.core.machine import Machine
from supervisor.core.requests import (
    Capture,
    Deregister,
    Done,
    Isolate,
    Launch,
    Mark,
    Outcome,
    Refused,
    Register,
    Request,
    Restart,
    Restore,
    Stop,
    Sweep,
    Terminate,
    Throttled,
    Unclear,
)
from supervisor.core.terms import Seconds
from supervisor.sim.exam.clockwork import Clockwork
from supervisor.sim.exam.ledger import LEAST_LATE, Act
from supervisor.sim.exam.parts import Box, Power, Process
from supervisor.sim.exam.site import Site

LATENCY: Seconds = 0.2
API_LIMIT: Seconds = 30.0
REMOVING = ("deregister", "isolate", "terminate", "stop", "restart")
FOR_GOOD = ("isolate", "terminate")
LINEAGE_TAGS = ("sickbay:incident", "exam:slot")


class SiteCloud:
    """One healer's way to the cloud. `asked` is called with each request, before it is sent; it may end the healer."""

    def __init__(self, site: Site, theirs: Clockwork, asked: Callable[[Request], None] = lambda _: None) -> None:
        """`theirs` is the healer's own clockwork: an answer waits while it sleeps."""
        self._site = site
        self._theirs = theirs
        self._asked = asked
        self._dice = site.dice.of("cloud")

    def list(self, fleet: str, then: Callable[[Sequence[Machine] | None], None]) -> None:
        """Ask for the fleet's machines; None when the cloud does not answer."""
        site = self._site
        if self._is_cut_off() or site.trouble.down:
            self._theirs.after(API_LIMIT if self._is_cut_off() else LATENCY, lambda: then(None))
            return
        if self._is_throttled():
            self._theirs.after(LATENCY, lambda: then(None))
            return
        found: Sequence[Machine] = () if site.trouble.empty else tuple(site.shown())
        self._theirs.after(LATENCY, lambda: then(found))

    def perform(self, request: Request, then: Callable[[Outcome], None]) -> None:
        """Carry out one request."""
        self._asked(request)
        if self._is_cut_off():
            self._theirs.after(API_LIMIT, lambda: then(Unclear("no answer from the cloud's API")))
            return
        self._site.clock.after(LATENCY, lambda: self._carry_out(request, then))

    def _carry_out(self, request: Request, then: Callable[[Outcome], None]) -> None:
        trouble = self._site.trouble
        if trouble.down:
            outcome: Outcome = Unclear("the cloud's API answers 503")
        elif self._is_throttled():
            outcome = Throttled("RequestLimitExceeded")
        else:
            outcome = self._effect(request)
            if trouble.lost and self._dice.random() < trouble.lost:
                self._theirs.after(API_LIMIT, lambda: then(Unclear("the answer was lost")))
                return
        self._theirs.after(LATENCY, lambda: then(outcome))

    def _is_cut_off(self) -> bool:
        post = self._site.post
        if not post.names or post.loss >= 1:
            return True
        return post.loss > 0 and self._dice.random() < post.loss**3

    def _is_throttled(self) -> bool:
        throttled = self._site.trouble.throttled
        return throttled > 0 and self._dice.random() < throttled

    # -- effects

    def _effect(self, request: Request) -> Outcome:
        if isinstance(request, Launch):
            return self._launch(request)
        if isinstance(request, Sweep):
            return Done(request.instance, "gone already")
        box = self._site.boxes.get(request.instance)
        if box is None or box.power is Power.TERMINATED:
            if isinstance(request, Terminate | Deregister):
                return Done(request.instance, "gone already")
            return Refused(f"there is no machine {request.instance}")
        if box.cut and isinstance(request, Deregister | Isolate | Stop | Terminate):
            box.pending.add(request.verb)  # the cloud says yes, and its host does not hear of it
            self._note(request.verb, box, box.worth)
            if request.verb in FOR_GOOD:
                box.removed = self._site.clock.now
            return Done(box.id)
        before, again = box.worth, box.removed is not None
        refusal = self._act(request, box)
        if refusal is not None:
            return refusal
        self._site.touch(box)
        if request.verb in REMOVING:
            self._note(request.verb, box, before, again=again)
        return Done(box.id)

    def _act(self, request: Request, box: Box) -> Refused | None:
        site, now = self._site, self._site.clock.now
        match request:
            case Register():
                if box.isolated or box.power is not Power.RUNNING:
                    return Refused(f"{box.id} does not run")
                box.registered_at = now if box.registered_at is None else box.registered_at
            case Deregister():
                box.registered_at = None
            case Isolate():
                box.isolated, box.registered_at, box.removed = True, None, now
            case Restore():
                box.isolated, box.removed = False, None
                if box.power is Power.STOPPED:
                    box.power, box.boots_at = Power.RUNNING, now + 30.0
                    site.clock.after(30.0, lambda: site.touch(box))
            case Restart():
                box.process, box.crashed, box.errors = Process.RUNNING, False, 0.0
                box.boots_at = now + 30.0
                site.clock.after(30.0, lambda: site.touch(box))
            case Stop():
                box.power, box.reason = Power.STOPPED, "Client.UserInitiatedShutdown"
            case Mark():
                box.mark = request.state
            case Terminate():
                box.removed = now if box.removed is None else box.removed
                box.registered_at = None
                site.end(box, "Client.UserInitiatedShutdown")
            case Capture() | Launch() | Sweep():
                pass
        return None

    def _launch(self, request: Launch) -> Outcome:
        site = self._site
        id = "i-" + hashlib.sha256(request.token.encode()).hexdigest()[:8]
        if id in site.boxes:
            return Done(id)
        if site.trouble.quota:
            return Refused("InstanceLimitExceeded: the account may run no more machines", hopeless=True)
        if site.trouble.no_capacity:
            return Refused(f"InsufficientInstanceCapacity in zone {request.zone}", capacity=True)
        if site.zones[request.zone].cut:
            return Refused(f"InsufficientInstanceCapacity in zone {request.zone}", capacity=True)
        box = site.launch(id, request.zone)
        box.token, box.tags, box.image, box.version = request.token, request.tags, request.image, request.version
        lineage = next((value for key, value in request.tags if key in LINEAGE_TAGS), "")
        now = site.clock.now
        site.ledger.launches.append(
            Act(now, "launch", id, False, 0.0, site.ledger.serving, lineage, self._why_not(None))
        )
        return Done(id)

    def _note(self, verb: str, box: Box, before: float, *, again: bool = False) -> None:
        """Write an act down; `again`: on one that was removed before, and has no business to serve."""
        site = self._site
        guilty = again or box.at_fault is not None or not box.has_served or box.power is Power.STOPPED
        guilty = guilty or self._is_extra(box)
        cost = before - box.worth
        act = Act(site.clock.now, verb, box.id, guilty, cost, site.ledger.serving, why_not=self._why_not(box))
        site.ledger.acts.append(act)

    def _is_extra(self, box: Box) -> bool:
        """Return whether a machine was launched during the run, and is one too many now that all is well.

        To let it go then is tidying up: as many serve as are wanted, and nothing is wrong that it might help against.
        """
        site = self._site
        if box.launched < 0 or site.ledger.serving < site.ledger.desired or not site.is_calm:
            return False
        places = (*site.zones.values(), *site.subnets.values())
        ill = any(other.registered_at is not None for other in site.at_fault())
        return not ill and not any(place.cut or place.loss for place in places)

    def _why_not(self, box: Box | None) -> str:
        """Return why nobody may act now: for long enough that an act was not under way already."""
        post, now = self._site.post, self._site.clock.now
        if post.blind_since is not None and now - post.blind_since > LEAST_LATE:
            return "blind"
        if post.paused_since is not None and now - post.paused_since > LEAST_LATE:
            return "paused"
        return "held" if box is not None and box.id in self._site.held else ""
