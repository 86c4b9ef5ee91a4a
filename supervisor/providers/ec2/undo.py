"""What a machine was before it was set aside: written before the first change, so that all of it can be undone exactly.

Kept twice: in a file, and as the tag `sickbay:undo`, which outlives a lost state folder. A record is brought up to date
by `merged` only: what already is as quarantine leaves it never replaces what was there before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from supervisor.files import read_json, write_durably
from supervisor.providers.ec2.api import AwsNo
from supervisor.providers.ec2.instance import Instance, is_cut
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.protection import PROTECTED, SHUTDOWN, STOP, TERMINATION, Flags, flags, protect, put
from supervisor.providers.ec2.scope import UNDO, Scope

MOST = 256  # characters of a tag's value
WORDS = {TERMINATION: "termination", STOP: "stop", SHUTDOWN: "shutdown"}


@dataclass(frozen=True, slots=True)
class Undo:
    """Attributes, whether each device goes with the machine, and each interface's groups."""

    flags: Flags
    disks: Mapping[str, bool]
    cards: Mapping[str, tuple[str, ...]]

    def text(self) -> str:
        """Return the record for a tag, in characters that every tag may hold."""
        words = [f"{WORDS[name]}={_said(value)}" for name, value in self.flags.items()]
        words += [f"disk:{device}={_said(dies)}" for device, dies in self.disks.items()]
        words += [f"{card}={'+'.join(groups)}" for card, groups in self.cards.items()]
        return " ".join(words)

    @classmethod
    def of_text(cls, text: str) -> Undo:
        """Read a tag. Raises `ValueError`."""
        names = {word: name for name, word in WORDS.items()}
        found: dict[str, bool | str] = {}
        disks: dict[str, bool] = {}
        cards: dict[str, tuple[str, ...]] = {}
        for word in text.split():
            key, is_pair, value = word.partition("=")
            if not is_pair or not value:
                raise ValueError(f"the tag {UNDO} holds {word!r}, expected a name and a value")
            if key.startswith("eni-"):
                cards[key] = tuple(value.split("+"))
            elif key.startswith("disk:"):
                disks[key.removeprefix("disk:")] = value == "1"
            elif key in names:
                found[names[key]] = value if names[key] == SHUTDOWN else value == "1"
            else:
                raise ValueError(f"the tag {UNDO} holds {key!r}, which nobody knows")
        return cls(found, disks, cards)


def secure(scope: Scope, machine: Instance) -> list[str]:
    """Write down what a machine is, and then protect it from ending; say what people must know of that.

    Raises `OSError`, and as reads and changes do.
    """
    present = flags(scope, machine.id)
    undo = merged(load(scope, machine), machine, present, scope.options)
    notes = _record(scope, machine, undo) + protect(scope, machine, present)
    if unknown := [card.id for card in machine.cards if card.id not in undo.cards]:
        notes.append(f"cut off by somebody else before: which groups {' and '.join(unknown)} had is not known")
    return notes


def unprotect(scope: Scope, machine: Instance) -> list[str]:
    """Give a machine that is not set aside its former protection back: it was captured, and recovered by itself.

    Raises `OSError`, and as reads and changes do.
    """
    was = load(scope, machine)
    if was is None:
        return []
    notes = put(scope, machine, was.flags, was.disks)
    scope.tag(machine.id, {UNDO: ""}, machine.tags)
    forget(scope, machine.id)
    return notes


def _record(scope: Scope, machine: Instance, undo: Undo) -> list[str]:
    if undo != _of_file(scope, machine.id):
        write_durably(_path(scope, machine.id), json.dumps(asdict(undo), indent=1))
    text = undo.text()
    if len(text) > MOST:
        return [f"what it was is kept in {_path(scope, machine.id)} alone: it is too long for a tag"]
    try:
        scope.tag(machine.id, {UNDO: text}, machine.tags)
    except AwsNo as no:
        return [f"what it was is kept in {_path(scope, machine.id)} alone: {no}"]
    return []


def merged(known: Undo | None, machine: Instance, present: Flags, options: Ec2Options) -> Undo:
    """Return what a machine was before it was set aside: as it is now, but for what may be quarantine's own doing.

    While it is set aside what is known stands, and only what is new on it is added. Else it may have been protected for
    a fault that passed, so what looks protected is as it was known to be, and all the rest as it is.
    """
    own = {card.id: card.groups for card in machine.cards if not is_cut(card, options)}
    dying = {disk.device: disk.dies for disk in machine.disks}
    if known is None:
        return Undo(present, dying, own)
    if machine.is_aside(options):
        return Undo({**present, **known.flags}, {**dying, **known.disks}, {**own, **known.cards})
    return Undo(
        {name: known.flags.get(name, value) if value == PROTECTED[name] else value for name, value in present.items()},
        {device: dies or known.disks.get(device, dies) for device, dies in dying.items()},
        own,
    )


def load(scope: Scope, machine: Instance) -> Undo | None:
    """Return what is known of a machine's former state; None when nothing is. Raises `OSError`, `ValueError`."""
    if (found := _of_file(scope, machine.id)) is not None:
        return found
    return Undo.of_text(machine.tag(UNDO)) if machine.tag(UNDO) else None


def forget(scope: Scope, id: str) -> None:
    """Drop the file: all is undone, or the machine is no more. Raises `OSError`."""
    _path(scope, id).unlink(missing_ok=True)


def _of_file(scope: Scope, id: str) -> Undo | None:
    found = read_json(_path(scope, id))
    if found is None:
        return None
    return Undo(found["flags"], found["disks"], {card: tuple(groups) for card, groups in found["cards"].items()})


def _path(scope: Scope, id: str) -> Path:
    return scope.note("undo", f"{id}.json")


def _said(value: bool | str) -> str:
    return value if isinstance(value, str) else str(int(value))
