"""What every act on one fleet works with: the API, the options, a folder for notes, and ways to stop half-way.

The acts call it; it knows no act. An act that can't go on raises `Halt` with its outcome: whoever performs it answers so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from supervisor.core.requests import Outcome, Refused, Unclear
from supervisor.providers.ec2.api import Answer, Api, AwsNo
from supervisor.providers.ec2.options import Ec2Options

FLEET, STATE, ROLE, HOLD, UNDO = "sickbay:fleet", "sickbay:state", "sickbay:role", "sickbay:hold", "sickbay:undo"
INSTANCE, CAPTURE, LAUNCH, VERSION = "sickbay:instance", "sickbay:capture", "sickbay:launch-id", "sickbay:version"
EXPIRES = "sickbay:expires-at"

PATIENCE = 15.0  # seconds that one act waits for AWS to show what it was told
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between two looks
SPREADING = 60.0  # seconds in which IAM may not know a new tag yet
ONCE_MORE = 2.0  # seconds until what IAM refused for that is asked once more

T = TypeVar("T")


class Halt(Exception):
    """The act ends here, with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        """Keep the outcome."""
        super().__init__(str(outcome))
        self.outcome = outcome


def refuse(sentence: str) -> Halt:
    """Return the end of an act that must not be done as things are."""
    return Halt(Refused(sentence))


def not_yet(sentence: str) -> Halt:
    """Return the end of an act that goes on when the same request comes again."""
    return Halt(Unclear(sentence))


class Scope:
    """One fleet's acts: what they may use, and the few manners that all of them share."""

    def __init__(self, fleet: str, options: Ec2Options, api: Api, folder: Path) -> None:
        """Nothing is asked or made yet."""
        self.fleet = fleet
        self.options = options
        self.api = api
        self.folder = folder
        # A former life of the daemon may have tagged something a moment ago.
        self._tagged_at = time.monotonic()

    def change(self, service: str, action: str, **params: object) -> Answer:
        """Change something; once more where IAM may not have known a tag of ours yet.

        Raises `AwsNo`, `AwsLater`, `AwsDoubt`.
        """
        try:
            return self.api.change(service, action, **params)
        except AwsNo as no:
            if no.code != "UnauthorizedOperation" or time.monotonic() - self._tagged_at > SPREADING:
                raise
            time.sleep(ONCE_MORE)
            return self.api.change(service, action, **params)

    def tag(self, id: str, wanted: Mapping[str, str], known: Mapping[str, str]) -> bool:
        """Write the tags that differ from the known ones, and say whether any did; '' is as good as none."""
        new = {key: value for key, value in wanted.items() if known.get(key, "") != value}
        if new:
            self.change("ec2", "CreateTags", Resources=[id], Tags=as_tags(new))
            self._tagged_at = time.monotonic()
        return bool(new)

    def until(self, look: Callable[[], T | None], doubt: str) -> T:
        """Return the first thing that a look shows. Raises `Halt` with `doubt` when patience ends."""
        deadline, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
        while (found := look()) is None:
            if time.monotonic() + pause > deadline:
                raise not_yet(doubt)
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        return found

    def note(self, *parts: str) -> Path:
        """Return the path of a note, and see that its folder is there. Raises `OSError`."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


def short(token: str) -> str:
    """Return a token's mark, for file names and tags."""
    return hashlib.sha256(token.encode()).hexdigest()[:8]


def as_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as EC2 wants them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def of_tags(tags: list[dict[str, str]]) -> dict[str, str]:
    """Return tags as EC2 shows them as a mapping."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags}
