"""All that is done to machines on AWS: one request in, one of four outcomes out.

Blocking; each runs in a thread, under a lock of its machine, so no two of them meet. Every act looks before each call
that changes something, so it can be sent again at any point, after any death: what is done already is not done twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from supervisor.core.requests import (
    Capture,
    Deregister,
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
from supervisor.errors import ProviderError
from supervisor.files import locked
from supervisor.providers.ec2.api import THROTTLING, Api, AwsDoubt, AwsLater, AwsNo, ReadError
from supervisor.providers.ec2.balancing import deregister, register
from supervisor.providers.ec2.ending import sweep, terminate
from supervisor.providers.ec2.evidence import capture
from supervisor.providers.ec2.launching import ACCESS, launch
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.power import restart, stop
from supervisor.providers.ec2.quarantine import isolate, mark, restore
from supervisor.providers.ec2.scope import Halt, Scope, short

LOCK_PATIENCE = 30.0  # seconds that an act waits for another on the same machine


class Acts:
    """The acts on one fleet. `folder` keeps captures, what is to be undone, and the notes of what was asked."""

    def __init__(self, fleet: str, options: Ec2Options, api: Api, folder: Path) -> None:
        """Nothing is asked or made yet."""
        self._scope = Scope(fleet, options, api, folder)

    def perform(self, request: Request) -> Outcome:
        """Carry out one request. Never raises for a no."""
        if request.fleet != self._scope.fleet:
            return Refused(f"this is fleet {self._scope.fleet}, not {request.fleet}")
        what = f"{request.verb} of {'a machine' if isinstance(request, Launch) else request.instance}"
        try:
            if isinstance(request, Launch):  # AWS's own token keeps two of them apart
                return launch(self._scope, request)
            with locked(self._scope.note("locks", short(request.instance)), LOCK_PATIENCE):
                return self._act(request)
        except Halt as halt:
            return halt.outcome
        except AwsNo as no:
            return Refused(f"{what}: AWS says no: {no}", hopeless=no.code in ACCESS)
        except AwsLater as later:
            return Throttled(f"{what}: {later}")
        except AwsDoubt as doubt:
            return Unclear(f"{what}: nobody knows what became of it: {doubt}")
        except ReadError as error:
            return (Throttled if error.code in THROTTLING else Unclear)(f"{what}: {error}")
        except (OSError, ValueError, LookupError, ProviderError) as error:
            return Unclear(f"{what} was cut short: {type(error).__name__}: {error}")

    def _act(
        self, request: Register | Deregister | Capture | Isolate | Restore | Restart | Stop | Mark | Terminate | Sweep
    ) -> Outcome:
        match request:
            case Register():
                return register(self._scope, request)
            case Deregister():
                return deregister(self._scope, request)
            case Capture():
                return capture(self._scope, request)
            case Isolate():
                return isolate(self._scope, request)
            case Restore():
                return restore(self._scope, request)
            case Restart():
                return restart(self._scope, request)
            case Stop():
                return stop(self._scope, request)
            case Mark():
                return mark(self._scope, request)
            case Terminate():
                return terminate(self._scope, request)
            case Sweep():
                return sweep(self._scope, request)
            case _:
                assert_never(request)
