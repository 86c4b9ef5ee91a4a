"""Launching: from a token to exactly one process, whatever dies in between.

    1. claim     machine.json appears with its folder, by one rename: id, address and the whole request
    2. unpack    the machine's own copy of the image, by one rename
    3. describe  launch.json: what to run
    4. start     the launcher, at most once per generation

Each step looks whether it was made, so a replay goes on where the first try stopped. Runs under the instance's lock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from supervisor.core.requests import Done, Launch, Outcome, Refused, Unclear
from supervisor.errors import ProviderError
from supervisor.files import locked, sync_folder
from supervisor.providers.local import address, detached
from supervisor.providers.local.image import ImageStore
from supervisor.providers.local.layout import Layout
from supervisor.providers.local.machine import Record, addresses_in_use, load, save, utc_now
from supervisor.providers.local.options import LocalOptions
from supervisor.providers.local.process import read_process


def launch(layout: Layout, options: LocalOptions, supervisor: str, id: str, request: Launch) -> Outcome:
    """Launch one machine, or go on with it, or find it. Raises `OSError`: nobody can say how far it came."""
    folder = layout.instance(id)
    try:
        record = load(folder)
    except ProviderError as error:
        return Unclear(str(error))
    if record is None:
        if why := _why_not(layout, options, request):
            return Refused(why)
        try:
            record = _claim(layout, options, supervisor, id, request)
        except (ProviderError, OSError) as error:
            if not folder.exists():
                return Refused(_sentence(error))  # no claim, no effect
            raise
    if record.token != request.token:
        return Refused(f"instance {id} belongs to another token: ask again with a new one")
    if differs := record.differs(request):
        return Refused(f"IdempotentParameterMismatch: token {request.token} was used before with another {differs}")
    if record.terminated_at is not None or record.terminating:
        return Done(instance=id, detail="launched before, and terminated since")
    if read_process(folder / "process.json") is not None:
        return Done(instance=id, detail="launched before")
    return carry_on(layout, folder, record)


def _why_not(layout: Layout, options: LocalOptions, request: Launch) -> str:
    if request.zone not in options.zones:
        return f"zone {request.zone!r} is not one of this fleet's: {', '.join(options.zones)}"
    store = ImageStore(layout.images)
    if not store.has(request.image):
        # The configured folder may have changed since the fleet was opened: then the new image is kept now.
        try:
            kept = store.keep(options.image)
        except ProviderError as error:
            return f"image {request.image} is not in the image store, and {error}"
        if kept != request.image:
            return f"image {request.image} is not in the image store; {options.image} is {kept} now"
    return ""


def _claim(layout: Layout, options: LocalOptions, supervisor: str, id: str, request: Launch) -> Record:
    part = layout.instances / f".new-{id}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    with locked(layout.addresses_lock, patience=10.0):
        record = Record(
            id=id,
            fleet=request.fleet,
            image=request.image,
            version=request.version,
            zone=request.zone,
            address=address.choose(f"{layout.state}:{layout.fleet}", id, options.port, addresses_in_use(layout)),
            port=options.port,
            token=request.token,
            supervisor=supervisor,
            created_at=utc_now(),
            tags=request.tags,
            starts=((request.token, 1),),
        )
        save(part, record)
        os.rename(part, layout.instance(id))
        sync_folder(layout.instances)
    return record


def carry_on(layout: Layout, folder: Path, record: Record) -> Outcome:
    """Bring a claimed machine to its newest start. Raises `OSError`."""
    if not (folder / "root").exists():
        try:
            ImageStore(layout.images).unpack(record.image, folder / "root")
        except ProviderError as error:
            return Unclear(str(error))  # its claim stands: a mended store lets the replay go on
    _describe(folder, record)
    return _start(folder, record)


def _describe(folder: Path, record: Record) -> None:
    environment = {
        "SICKBAY_INSTANCE": record.id,
        "SICKBAY_ADDRESS": record.address,
        "SICKBAY_PORT": str(record.port),
        "SICKBAY_ZONE": record.zone,
        "SICKBAY_VERSION": record.version,
        "SICKBAY_IMAGE": record.image,
    }
    detached.write_launch(folder, ["./start"], folder / "root", environment)


def _start(folder: Path, record: Record) -> Outcome:
    try:
        detached.start(folder, record.generation)
        trouble = ""
    except (ProviderError, subprocess.TimeoutExpired) as error:
        trouble = _sentence(error)
    process = read_process(folder / "process.json")
    if process is not None and process.generation >= record.generation:
        return Done(instance=record.id, detail=trouble)  # started; if it could not become its program, it has died
    return Unclear(trouble or f"{record.id} is being started by another launcher")


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} can't be written: {error.strerror}"
    return str(error)
