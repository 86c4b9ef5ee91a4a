"""What is wrong with a fleet: kept up to date with every edge, so that asking costs nothing.

    symptoms of the sick  ->  counters by label  ->  explanations, weighed  ->  one verdict, held for a while

Called by the engine on an edge, by triage before it decides (`diagnose`), by whoever needs the answer (`verdict_on`).
It decides nothing: guards read what it says.
"""

from __future__ import annotations

from supervisor.core.context import Context
from supervisor.core.fleet import Fleet
from supervisor.core.model import Instance
from supervisor.core.verdict import Verdict


def diagnose(ctx: Context, fleet: Fleet) -> None:
    """Judge afresh what the fleet's sick have in common, and hold the verdict in `fleet.verdict`."""


def verdict_on(ctx: Context, fleet: Fleet, instance: Instance) -> Verdict:
    """Return what is wrong with one instance: the fleet's verdict where it covers it, else its own fault."""
    del ctx, instance
    return fleet.verdict
