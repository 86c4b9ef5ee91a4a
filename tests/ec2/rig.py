"""One AWS, one fleet on it, and the real daemon as a process of its own: everything that a story needs.

The foreign machines are in every world: nothing may ever happen to them.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ec2.evidence import Evidence, Seen, read_journal, seen_by, truth_of
from tests.ec2.invariants import Violation, check, quiescent
from tests.program import Sickbay
from tests.standins.aws import Aws, World, build
from tests.standins.aws.log import Entry

RATE = 20.0  # AWS's seconds in one of ours
SPEED = 20.0  # the same for the daemon's own judging

CONFIG = """
[supervisor]
mode = "auto"
state = "sqlite:///{state}/state.db"
listen = "127.0.0.1:{listen}"
inventory = "500ms"

[fleet.web]
provider = "ec2"
desired = {desired}
version = "1.0.0"

[fleet.web.ec2]
region = "{region}"
launch_template = "{template}"
subnets = {subnets}
target_groups = ["{target_group}"]
isolation_group = "{isolation}"
untrack_group = "{untrack}"
auto_scaling_group = "{group}"

[[fleet.web.check]]
name = "alive"
kind = "http"
port = {machines}
interval = "400ms"
timeout = "350ms"

[judgement]
speed = {speed}
probation = "100s"
probation_quiet = "60s"
cold_start = "20s"

[guards]
{guards}

[chat.terminal]
{more}
"""

SEVERAL_AT_ONCE = """
breaker_share = 1.0
breaker_window = "20s"
breaker_quiet = "20s"
concurrent_share = 1.0
concurrent_zone_share = 1.0
hourly_share = 1.0
daily_share = 1.0
global_hourly = 100
quarantine_cap = 10
cooldown = "20s"
"""
"""Guards for tests in which a small fleet loses much in a short time."""


class Rig(Sickbay):
    """A daemon in a folder of its own, with a fleet on a stand-in for AWS."""

    def __init__(self, folder: Path, world: World, desired: int = 2, guards: str = SEVERAL_AT_ONCE) -> None:
        """Write the configuration; nothing runs yet."""
        self.world = world
        self.aws = world.aws
        self.desired = desired
        self.guards = guards
        self.more = ""
        """More tables of the configuration."""
        super().__init__(folder)
        self.environment = {**self.aws.environment}
        self.seen: list[Seen] = []
        self.ill: set[str] = set()
        """Machines that something was done to: only they may be touched."""
        self.asked: set[str] = set()
        """Machines that an operator asked us to touch."""
        self.starts = 0
        self.foreign = strangers(world)
        self.aws.log.witnesses.append(self._witness)

    def write(self, mode: str = "auto", **changes: str) -> None:
        """Write the configuration, with some words replaced."""
        text = CONFIG.format(
            state=self.folder,
            listen=self.listen,
            desired=self.desired,
            region=self.aws.region,
            template=self.world.template,
            subnets=json.dumps(list(self.world.subnets.values())),
            target_group=self.world.target_group,
            isolation=self.world.isolation,
            untrack=self.world.untrack,
            group=self.world.group,
            machines=self.aws.machines.port,
            speed=SPEED,
            guards=self.guards,
            more=self.more,
        ).replace('mode = "auto"', f'mode = "{mode}"', 1)
        for old, new in changes.items():
            text = text.replace(old, new)
        self.config.write_text(text)

    # -- the daemon's life

    def start(self) -> None:
        """Start the daemon; each life has its own number in the evidence."""
        self.starts += 1
        super().start()

    @property
    def is_dead(self) -> bool:
        """Whether the daemon's process has ended."""
        return self.process is None or self.process.poll() is not None

    def shoot(self) -> None:
        """SIGKILL the daemon, if it lives, and wait for its end: a stop of the log calls this from a thread."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)

    def restart(self) -> None:
        """SIGKILL, and a new life."""
        self.shoot()
        self.start()

    def end(self) -> None:
        """End the daemon; the machines end with their AWS."""
        self.shoot()

    # -- looking at it

    def get(self, path: str) -> Any:
        """Return a document of the API, None while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.listen}/api/v1/{path}", timeout=5) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError):
            return None

    def status(self) -> dict[str, Any]:
        """Return what the daemon says of the fleet; empty while it does not answer."""
        document = self.get("status")
        return dict(document["fleets"][0]) if document else {}

    def is_calm(self) -> bool:
        """Return whether the fleet is OPTIMAL, and nothing is under way or open."""
        if self.status().get("state") != "optimal":
            return False
        busy = self.rows("SELECT count(*) FROM workflow WHERE state = 'running'") or [(1,)]
        open_ones = self.rows("SELECT count(*) FROM incident WHERE state <> 'closed'") or [(1,)]
        return len(self.serving()) >= self.desired and busy[0][0] == 0 and open_ones[0][0] == 0

    def calm(self, limit: float = 60.0) -> None:
        """Wait until the fleet is well and nothing is under way."""
        self.until(self.is_calm, limit)

    def incident(self, instance: str) -> dict[str, Any]:
        """Return the incident about a machine, with its story; empty while there is none."""
        found = self.rows(f"SELECT id FROM incident WHERE instance = '{instance}' ORDER BY id DESC")
        return dict(self.get(f"incidents/{found[0][0]}") or {}) if found else {}

    def lifecycle(self, instance: str) -> str:
        """Return where a machine stands."""
        found = self.rows(f"SELECT lifecycle FROM instance WHERE id = '{instance}'")
        return str(found[0][0]) if found else ""

    def is_healed(self, instance: str) -> bool:
        """Return whether a machine's incident is closed."""
        return bool(self.rows(f"SELECT 1 FROM incident WHERE instance = '{instance}' AND state = 'closed'"))

    def until(self, done: Callable[[], object], limit: float = 60.0, pause: float = 0.05) -> None:
        """Wait for something; a daemon that ends meanwhile, unasked, ends the wait."""
        deadline = time.monotonic() + limit
        while not done():
            assert not self.is_dead, f"the daemon ended\n{self.story()}"
            assert time.monotonic() < deadline, self.story()
            time.sleep(pause)

    # -- what happens to machines

    def sicken(self, instance: str, fault: str) -> None:
        """Make a machine sick: a fault of its web server, or `impaired` as AWS's own checks see it."""
        self.ill.add(instance)
        if fault == "impaired":
            self.aws.instances.impair(instance)
            fault = "silent"
        self.aws.machines.fault(instance, fault)

    def cure(self, instance: str) -> None:
        """Make it well again, behind whatever isolates it."""
        self.aws.instances.impair(instance, "")
        self.aws.machines.fault(instance, "")

    def die(self, instance: str) -> None:
        """Have AWS lose a machine."""
        self.ill.add(instance)
        self.aws.instances.end(self.aws.instances.lives[instance], "terminated", "Server.InternalError")

    # -- the verdict

    def _witness(self, entry: Entry) -> None:
        self.seen.append(seen_by(self.aws, self.world, self.folder / "state.db", entry, self.starts))

    def evidence(self) -> Evidence:
        """Return everything that the checker reads."""
        said = {path.name: path.read_bytes() for path in self.folder.glob("*.log")}
        kept = {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        shown = json.dumps(self.get("status")).encode()
        return Evidence(
            calls=tuple(self.seen),
            machines=truth_of(self.aws, self.world),
            records=read_journal(self.folder / "state.db"),
            texts=said | kept | {"status": shown},
            desired=self.desired,
            foreign=frozenset(self.foreign),
            ill=frozenset(self.ill),
            asked=frozenset(self.asked),
        )

    def check(self, *, ended: bool = True) -> list[Violation]:
        """Return everything that was broken so far."""
        return check(self.evidence(), ended=ended)

    def rest(self) -> list[Violation]:
        """Restart the converged daemon, let it look around, and return what it changed although nothing was to do."""
        self.calm()
        before = len(self.seen)
        self.restart()
        self.until(lambda: self.status().get("state") == "optimal" and self.is_settled())
        time.sleep(1.0)  # two more inventories: whoever wants to do something does it now
        return quiescent(self.seen[before:])

    def is_settled(self) -> bool:
        """Return whether the amnesty of a start is over, so that the daemon may act."""
        amnesty = self.status().get("amnesty", {"clean_rounds": 0, "needed": 1})
        return bool(amnesty["clean_rounds"] >= amnesty["needed"])


def strangers(world: World) -> set[str]:
    """Start the machines of other people in the same subnets: one without tags, one of another fleet, one named as ours."""
    names: set[str] = set()
    kinds: list[dict[str, str]] = [{}, {"sickbay:fleet": "other"}, {"Name": "web"}]
    for tags in kinds:
        marked = [{"ResourceType": "instance", "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}]
        answer = world.aws.do(
            "ec2",
            "RunInstances",
            ImageId=world.image,
            InstanceType="t3.micro",
            SubnetId=world.subnets[world.zones[len(names) % 2]],
            SecurityGroupIds=[world.serving],
            MinCount=1,
            MaxCount=1,
            **({"TagSpecifications": marked} if tags else {}),
        )
        names.add(answer["Instances"][0]["InstanceId"])
    return names


@contextmanager
def rig(
    folder: Path, desired: int = 2, rate: float = RATE, guards: str = SEVERAL_AT_ONCE, *, grouped: bool = False
) -> Iterator[Rig]:
    """Give a rig with an AWS of its own, the fleet in an Auto Scaling group if wanted; both end with the block."""
    with Aws(rate=rate) as aws:
        world = build(aws, group_size=desired if grouped else 0)
        drain = [{"Key": "deregistration_delay.timeout_seconds", "Value": "60"}]
        aws.do("elbv2", "ModifyTargetGroupAttributes", TargetGroupArn=world.target_group, Attributes=drain)
        made = Rig(folder, world, desired, guards)
        try:
            yield made
        finally:
            made.end()


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command said."""
    return done.stdout + done.stderr
