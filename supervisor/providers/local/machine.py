"""The record of one local machine, its file, and what it means for the rest of Sickbay.

`machine.json` says what is wanted, `process.json` which process runs, the kernel whether it still does. A machine
without our fleet's name in its record is not ours, and nothing here touches it.

An operator who stops a machine on purpose says so with a file `stopped-by-user` in its folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from supervisor.core.machine import Machine, MachineState, TargetHealth
from supervisor.core.requests import Launch
from supervisor.errors import ProviderError
from supervisor.files import read_json, write_durably
from supervisor.providers.local.layout import Layout
from supervisor.providers.local.process import boot_id, read_process

SHOWN_FOR = timedelta(hours=1)
"""How long a terminated machine is still listed, as clouds do."""
KEPT_FOR = timedelta(days=7)
"""How long its record, log and captures are kept: until then a replayed launch finds it and starts no second one."""
MOST_STARTS = 64

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What is wanted of one machine. `starts` names the generation that each token asked for: each is made once."""

    id: str
    fleet: str
    image: str
    version: str
    zone: str
    address: str
    port: int
    token: str
    supervisor: str
    created_at: datetime
    tags: Tags = ()
    isolation_tags: Tags = ()
    isolated: bool = False
    stopped: bool = False  # by Sickbay, on purpose
    registered: bool = False  # only used where there is no front door
    terminating: bool = False
    terminated_at: datetime | None = None
    starts: tuple[tuple[str, int], ...] = ()

    @property
    def generation(self) -> int:
        """The newest start that was asked for."""
        return max(number for _, number in self.starts)

    def generation_of(self, token: str) -> int | None:
        """Return the start that a token asked for."""
        return next((number for known, number in self.starts if known == token), None)

    def asked(self, token: str, generation: int) -> Record:
        """Note that a token asked for a start."""
        return replace(self, starts=(*self.starts, (token, generation))[-MOST_STARTS:])

    def differs(self, request: Launch) -> str:
        """Name the parameters in which a replayed launch differs from the first; '' if it is the same."""
        pairs = {
            "fleet": (self.fleet, request.fleet),
            "image": (self.image, request.image),
            "version": (self.version, request.version),
            "zone": (self.zone, request.zone),
            "tags": (sorted(self.tags), sorted(request.tags)),
        }
        return ", ".join(name for name, (stored, asked) in pairs.items() if stored != asked)


def instance_id(fleet: str, token: str) -> str:
    """Name the instance of a token: the same for the same token."""
    return "i-" + hashlib.sha256(f"{fleet}\0{token}".encode()).hexdigest()[:8]


def save(folder: Path, record: Record) -> None:
    """Write a record, durably. Raises `OSError`."""
    write_durably(folder / "machine.json", json.dumps(asdict(record), indent=1, default=datetime.isoformat))


def load(folder: Path) -> Record | None:
    """Read a record, or None where there is none. Raises `ProviderError` when it is there and can't be read."""
    try:
        found = read_json(folder / "machine.json")
        if found is None:
            return None
        found["created_at"] = datetime.fromisoformat(found["created_at"])
        if found["terminated_at"] is not None:
            found["terminated_at"] = datetime.fromisoformat(found["terminated_at"])
        for name in ("tags", "isolation_tags", "starts"):
            found[name] = tuple((str(key), value) for key, value in found[name])
        return Record(**found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ProviderError(
            f"{folder / 'machine.json'} can't be read ({error}): mend it, or move its folder away"
        ) from error


def load_all(layout: Layout) -> list[tuple[Path, Record]]:
    """Read the records of a fleet, sorted by id; folders that aren't ours are left out. Raises `ProviderError`."""
    try:
        folders = sorted(path for path in layout.instances.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ProviderError(f"{layout.instances} can't be read: {error.strerror}") from error
    records = ((folder, load(folder)) for folder in folders)
    return [(folder, record) for folder, record in records if record is not None and record.fleet == layout.fleet]


def addresses_in_use(layout: Layout) -> frozenset[str]:
    """Return the addresses of all machines of all fleets in this state folder. Raises `ProviderError`."""
    found = set()
    for file in layout.base.glob("*/instances/*/machine.json"):
        record = None if file.parent.name.startswith(".") else load(file.parent)
        if record is not None and record.terminated_at is None:
            found.add(record.address)
    return frozenset(found)


def state_of(folder: Path, record: Record) -> tuple[MachineState, str]:
    """Return what a cloud would say of a machine, and why it stopped. Raises `ProviderError`."""
    if record.terminated_at is not None:
        return MachineState.TERMINATED, "terminated by sickbay"
    try:
        process = read_process(folder / "process.json")
    except (OSError, ValueError) as error:
        raise ProviderError(f"{folder / 'process.json'} can't be read: {error}") from error
    if process is not None and process.is_alive:
        return MachineState.RUNNING, ""
    if record.stopped:
        return MachineState.STOPPED, "stopped by sickbay"
    if process is None or process.generation < record.generation:
        return MachineState.PENDING, ""
    if (folder / "stopped-by-user").exists():
        return MachineState.STOPPED, "stopped by a user"
    if process.boot != boot_id():
        return MachineState.STOPPED, "the host was restarted"
    return MachineState.STOPPED, "its process exited"


def seen(folder: Path, record: Record, target: TargetHealth | None, *, answered: bool) -> Machine:
    """Return a machine as the port shows it.

    `target` is what the front door says of it (None: not registered), `answered` whether the front door did.
    Raises `ProviderError`.
    """
    state, reason = state_of(folder, record)
    return Machine(
        id=record.id,
        fleet=record.fleet,
        state=state,
        zone=record.zone,
        image=record.image,
        version=record.version,
        address=record.address,
        registered=target is not None if answered else None,
        target=target or TargetHealth.UNKNOWN,
        isolated=record.isolated,
        reason=reason,
        stopped_by_user=reason == "stopped by a user",
        tags=record.tags + (record.isolation_tags if record.isolated else ()),
    )


def is_shown(record: Record, now: datetime) -> bool:
    """Whether a machine is still listed."""
    return record.terminated_at is None or now - record.terminated_at < SHOWN_FOR


def forget_old(layout: Layout, folder: Path, record: Record, now: datetime) -> None:
    """Remove what is left of a machine that was terminated long ago. Raises `OSError`."""
    if record.terminated_at is not None and now - record.terminated_at > KEPT_FOR:
        shutil.rmtree(folder, ignore_errors=True)
        layout.lock(record.id).unlink(missing_ok=True)


def utc_now() -> datetime:
    """Return the wall time, for records."""
    return datetime.now(UTC)
