"""A fleet on an AWS of our own, and the acts on it; with machines of the fleet's and a stranger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.requests import Deregister, Done, Isolate, Launch, Mark, Outcome, Register, Request
from supervisor.providers.ec2.acts import Acts
from supervisor.providers.ec2.api import BotoApi
from supervisor.providers.ec2.buckets import PACES, Buckets
from supervisor.providers.ec2.options import Ec2Options
from tests.standins.aws import Aws, Entry, World, build

PATIENCE = 1.5  # seconds for an answer


@dataclass
class Bench:
    """The acts, and the truth about what they did."""

    world: World
    acts: Acts
    folder: Path
    stranger: str = field(init=False)

    def __post_init__(self) -> None:
        """Put a stranger there: from the same template, of another fleet, in the same target group."""
        (self.stranger,) = self.world.launch()
        self.aws.do("ec2", "CreateTags", Resources=[self.stranger], Tags=[{"Key": "sickbay:fleet", "Value": "shop"}])
        self.world.register(self.stranger)
        self.aws.log.clear()

    @property
    def aws(self) -> Aws:
        """The account."""
        return self.world.aws

    def perform(self, request: Request) -> Outcome:
        """Carry out one request."""
        return self.acts.perform(request)

    def done(self, *requests: Request) -> str:
        """Carry out requests that must all be done; return the last one's detail."""
        detail = ""
        for request in requests:
            outcome = self.perform(request)
            assert isinstance(outcome, Done), outcome
            detail = outcome.detail
        return detail

    def again(self, request: Request, most: int = 6) -> list[Outcome]:
        """Send a request until it is done, as the journal does; return all answers."""
        outcomes = [self.perform(request)]
        while not isinstance(outcomes[-1], Done) and len(outcomes) < most:
            outcomes.append(self.perform(request))
        return outcomes

    def machine(self, *, serves: bool = False) -> str:
        """Return a running machine of the fleet's, that serves if wanted, with an empty log."""
        (name,) = self.world.launch()
        if serves:
            self.world.register(name)
        self.aws.log.clear()
        return name

    def aside(self) -> str:
        """Return an isolated machine, with an empty log."""
        name = self.machine(serves=True)
        self.done(Isolate("web", name, f"isolate {name}"))
        self.aws.forward(700)
        self.aws.log.clear()
        return name

    def expired(self) -> str:
        """Return an isolated machine that may be ended, with an empty log."""
        name = self.aside()
        self.done(Mark("web", name, "m", "expired"))
        self.aws.log.clear()
        return name

    def launch(self, token: str, zone: str = "", version: str = "1") -> Launch:
        """Return a launch as the engine writes it."""
        zone = zone or self.world.zones[0]
        tags = {"fleet": "web", "incident": "7", "launch-id": token, "supervisor": "uid/1"}
        spec = {"template": self.world.template, "template_version": version, "subnet": self.world.subnets[zone]}
        named = tuple((f"sickbay:{key}", value) for key, value in tags.items())
        return Launch("web", self.world.image, "1.0.0", zone, token, named, tuple(spec.items()))

    # -- the truth

    def shown(self, name: str) -> Any:
        """Return what AWS says of an instance."""
        found = self.aws.do("ec2", "DescribeInstances", InstanceIds=[name])["Reservations"]
        return found[0]["Instances"][0]

    def state(self, name: str) -> str:
        """Return an instance's state."""
        return str(self.shown(name)["State"]["Name"])

    def tags(self, name: str) -> dict[str, str]:
        """Return an instance's tags of ours that are not empty."""
        return {
            t["Key"]: t["Value"] for t in self.shown(name)["Tags"] if t["Key"].startswith("sickbay:") and t["Value"]
        }

    def groups(self, name: str) -> list[list[str]]:
        """Return the security groups of each interface."""
        cards = self.shown(name)["NetworkInterfaces"]
        return [sorted(group["GroupId"] for group in card["Groups"]) for card in cards]

    def attributes(self, name: str) -> tuple[object, ...]:
        """Return what protects an instance: against termination, stops, its own shutdown, and the loss of its disks."""
        names = ("disableApiTermination", "disableApiStop", "instanceInitiatedShutdownBehavior")
        flags = [
            self.aws.do("ec2", "DescribeInstanceAttribute", InstanceId=name, Attribute=a)[a[0].upper() + a[1:]]["Value"]
            for a in names
        ]
        return (*flags, *(disk["Ebs"]["DeleteOnTermination"] for disk in self.shown(name)["BlockDeviceMappings"]))

    def targets(self) -> list[str]:
        """Return what the target group would send requests to, or look at."""
        found = self.aws.do("elbv2", "DescribeTargetHealth", TargetGroupArn=self.world.target_group)
        shown = found["TargetHealthDescriptions"]
        return sorted(t["Target"]["Id"] for t in shown if t["TargetHealth"]["State"] != "draining")

    def snapshots(self, name: str) -> list[Any]:
        """Return the snapshots of an instance."""
        found = self.aws.do("ec2", "DescribeSnapshots", OwnerIds=["self"])["Snapshots"]
        return [s for s in found if {"Key": "sickbay:instance", "Value": name} in s.get("Tags", [])]

    def called(self) -> list[str]:
        """Return the mutating calls since the log was cleared."""
        return [entry.action for entry in self.aws.log.daemons]

    def effects(self) -> list[str]:
        """Return those that changed something."""
        return [spelt(entry) for entry in self.aws.log.effects]

    def strangers_calls(self) -> list[str]:
        """Return the mutating calls that name the stranger."""
        return [entry.action for entry in self.aws.log.daemons if self.stranger in str(entry.params)]


def spelt(entry: Entry) -> str:
    """Return a call with what it changes, without the ids that differ from run to run."""
    words = sorted(key for key in entry.params if key not in ("InstanceId", "DryRun"))
    tags = [f"{tag['Key']}={tag['Value']}" for tag in entry.params.get("Tags", []) if tag["Key"] != "sickbay:undo"]
    return " ".join([entry.action, *words, *tags])


@contextmanager
def opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, rate: float = 50, group_size: int = 0, **options: object
) -> Iterator[Bench]:
    """Open an account, build a world in it and a fleet's acts on it."""
    with Aws(rate=rate) as aws:
        for key, value in aws.environment.items():
            monkeypatch.setenv(key, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        world = build(aws, group_size=group_size)
        # Hundreds of throttled calls in a row would slow this client down as they should.
        unlimited = Buckets(dict.fromkeys(PACES, (1e6, 1e6)))
        api = BotoApi(aws.region, patience=PATIENCE, buckets=unlimited)
        chosen = {
            "region": aws.region,
            "launch_template": world.template,
            "subnets": tuple(world.subnets.values()),
            "target_groups": (world.target_group,),
            "isolation_group": world.isolation,
            "auto_scaling_group": world.group,
        } | options
        yield Bench(world, Acts("web", Ec2Options.model_validate(chosen), api, folder), folder)
        api.close()


def until(expected: object, look: Any, limit: float = 10.0) -> None:
    """Wait until a look shows what is expected; fail with what it shows instead."""
    deadline = time.monotonic() + limit
    while look() != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert expected == look()


def in_and_out(name: str) -> tuple[Register, Deregister]:
    """Return the two requests about the load balancer."""
    return Register("web", name, "r"), Deregister("web", name, "d")
