"""Where everything of a local fleet lies within the daemon's state folder.

STATE/local/images/IMG/                 golden images by content
STATE/local/FLEET/locks/                one lock per instance, held during an act
STATE/local/FLEET/instances/ID/         machine.json process.json launch.json lock log root/ captures/
STATE/local/FLEET/front_door/           targets.json process.json launch.json lock log control.sock
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from supervisor.errors import ProviderError


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one fleet. `state` is absolute: processes are recognised by their folder."""

    state: Path
    fleet: str

    @classmethod
    def of(cls, state: Path, fleet: str) -> Layout:
        """Lay out a fleet. Raises `ProviderError` for a name that can't be a folder."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fleet) or fleet == "images":
            raise ProviderError(
                f"a local fleet can't be called {fleet!r}: expected at most 63 letters, digits, '.', '_', '-', "
                f"and not 'images'"
            )
        return cls(state.resolve(), fleet)

    @property
    def base(self) -> Path:
        """Everything local, of all fleets."""
        return self.state / "local"

    @property
    def images(self) -> Path:
        """The image store, shared by all fleets."""
        return self.base / "images"

    @property
    def addresses_lock(self) -> Path:
        """Held while an address is chosen."""
        return self.base / "addresses.lock"

    @property
    def folder(self) -> Path:
        """Everything of this fleet."""
        return self.base / self.fleet

    @property
    def instances(self) -> Path:
        """One folder per instance."""
        return self.folder / "instances"

    @property
    def front_door(self) -> Path:
        """The load balancer's folder."""
        return self.folder / "front_door"

    def instance(self, id: str) -> Path:
        """Return an instance's folder."""
        return self.instances / id

    def lock(self, id: str) -> Path:
        """Return the lock that is held during an act on an instance."""
        return self.folder / "locks" / id

    def make(self) -> None:
        """Create the folders, readable by the supervisor's user only. Raises `ProviderError`."""
        try:
            for folder in (self.base, self.images, self.folder, self.instances, self.folder / "locks", self.front_door):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ProviderError(f"{self.folder} can't be created: {error.strerror}") from error
