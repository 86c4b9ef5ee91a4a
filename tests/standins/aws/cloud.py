"""The stand-in as tests see it: one AWS account in one region, over real HTTP, with everything that goes wrong there."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from functools import cache
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from tests.standins.aws.attributes import Attributes
from tests.standins.aws.balancer import Balancer
from tests.standins.aws.call import ADMIN, DAEMON, AwsError, Call, Json
from tests.standins.aws.clock import Clock, Timing
from tests.standins.aws.describing import Describing, groups_of
from tests.standins.aws.emulator import Emulator, written
from tests.standins.aws.faults import Faults
from tests.standins.aws.gate import Gate
from tests.standins.aws.groups import Groups
from tests.standins.aws.instances import Instances, Life
from tests.standins.aws.launch import Launcher
from tests.standins.aws.limits import Limits
from tests.standins.aws.log import Log
from tests.standins.aws.machines import Machines
from tests.standins.aws.scaling import Scaling
from tests.standins.aws.server import Server
from tests.standins.aws.snapshots import Snapshots
from tests.standins.aws.thread import LoopThread

REGION = "eu-central-1"


class Aws:
    """An account. `rate` is how many of AWS's seconds pass in one of ours.

    `client` is the daemon's: its calls meet `faults`, `limits`, the `policy` and the `log`'s stops. `admin` is spared
    all of them: with it a test builds its world and looks at the truth.
    """

    def __init__(self, rate: float = 1.0) -> None:
        """Make an empty account; `with` it, or `start` and `stop` it."""
        self.account = f"{random.randrange(10**11, 10**12)}"
        self.region = REGION
        self.clock = Clock(rate)
        self.timing = Timing()
        self.faults = Faults()
        self.log = Log()
        self.machines = Machines()
        self.limits = Limits(self.clock)
        emulator = self._emulator = Emulator(self.account, REGION)
        self.instances = Instances(emulator, self.clock, self.timing)
        self.launches = Launcher(emulator, self.instances, self.clock, self.timing)
        self.balancer = Balancer(emulator, self.instances, self.clock, self.timing)
        self.groups = Groups(self.instances, self.launches, self.balancer, self.clock, self.timing)
        self.groups.owner = (self.account, REGION)
        self.gate = Gate(emulator, self.instances, self.launches, self.groups)
        self.server = Server(emulator, self.faults, self.log, self._carry_out)
        self._describing = Describing(emulator, self.instances, self.clock, self.timing)
        attributes = Attributes(emulator, self.instances)
        self._snapshots = Snapshots(emulator, self.clock, self.timing)
        self._actions = {
            ("ec2", "RunInstances"): self.launches.run,
            ("ec2", "DescribeInstances"): self._describing.instances,
            ("ec2", "DescribeInstanceStatus"): self._describing.statuses,
            ("ec2", "StartInstances"): self.instances.start,
            ("ec2", "StopInstances"): self.instances.stop,
            ("ec2", "RebootInstances"): self.instances.reboot,
            ("ec2", "TerminateInstances"): self.instances.terminate,
            ("ec2", "CreateSnapshot"): self._snapshots.create,
            ("ec2", "CreateSnapshots"): self._snapshots.create,
            ("ec2", "DescribeInstanceAttribute"): attributes.shown,
            ("ec2", "ModifyInstanceAttribute"): attributes.of_instance,
            ("ec2", "ModifyNetworkInterfaceAttribute"): attributes.of_interface,
            ("elbv2", "RegisterTargets"): self.balancer.register,
            ("elbv2", "DeregisterTargets"): self.balancer.deregister,
            ("elbv2", "DescribeTargetHealth"): self.balancer.health,
        } | {("autoscaling", name): action for name, action in Scaling(self.groups).actions.items()}
        self.instances.on_gone.append(self.machines.forget)
        self._thread = LoopThread("aws api")
        self._clients: list[Any] = []  # Any: boto3's
        self._admins: dict[str, Any] = {}  # Any: as above

    # -- its life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, and let time pass."""
        self.machines.start()
        self._thread.start()
        self._thread.run(self.server.start())
        asyncio.run_coroutine_threadsafe(self._go_on(), self._thread.loop)

    def stop(self) -> None:
        """Go away, with all machines; say what broke in the stand-in itself."""
        for client in self._clients:
            client.close()
        self._thread.run(self.server.stop())
        self._thread.stop()
        self.machines.stop()
        for failure in self.server.failures:
            raise failure

    # -- reaching it

    @property
    def url(self) -> str:
        """What to give boto3 as `endpoint_url`."""
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a daemon needs in its environment to be a client."""
        keys = {"AWS_ACCESS_KEY_ID": DAEMON, "AWS_SECRET_ACCESS_KEY": "CANARY-secret", "AWS_DEFAULT_REGION": REGION}
        return keys | {"AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true"}

    def client(self, service: str, timeout: float = 5.0) -> Any:  # Any: boto3 makes its clients at run time
        """Return a client as the daemon is one, without retries."""
        return self._client(service, DAEMON, timeout)

    def admin(self, service: str) -> Any:  # Any: as above
        """Return a client that nothing happens to."""
        if service not in self._admins:
            self._admins[service] = self._client(service, ADMIN, 20.0)
        return self._admins[service]

    def _client(self, service: str, key: str, timeout: float) -> Any:  # Any: as above
        config = Config(connect_timeout=2, read_timeout=timeout, retries={"mode": "standard", "total_max_attempts": 1})
        made = _session().client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key="CANARY-secret",
            config=config,
        )
        self._clients.append(made)
        return made

    # -- what a test can do to it besides

    @property
    def policy(self) -> Json | None:
        """The daemon's IAM policy; None allows everything."""
        return self.gate.policy

    @policy.setter
    def policy(self, document: Json | None) -> None:
        self.gate.policy = document

    def do(self, service: str, action: str, **params: object) -> Json:
        """Carry a call out as the admin, without the detour over HTTP: for what a test needs done quickly."""

        async def work() -> Json:
            return self._answer(Call(service, action, REGION, ADMIN, params))

        return self._thread.run(work())

    @property
    def snapshots(self) -> list[Any]:  # Any: moto's objects, with `volume_id` and `status`
        """Every snapshot of the account; from any thread."""
        return list(self._emulator.ec2().snapshots.values())

    def set_image(self, image: str, state: str) -> None:
        """Give an image another state: `pending`, `failed`, `disabled`, `available`."""
        self._emulator.ec2().amis[image].state = state

    def shutdown(self, instance: str) -> None:
        """Shut a machine down from within."""
        self._thread.run(_as_coroutine(lambda: self.instances.shutdown(instance)))

    def forward(self, seconds: float) -> None:
        """Let some of AWS's seconds pass at once, and take effect."""
        self.clock.forward(seconds)
        self._thread.run(_as_coroutine(self._tick))

    @contextlib.contextmanager
    def zone_down(self, zone: str) -> Iterator[None]:
        """Have a zone's API fail, and its machines fall silent, for a while."""
        there = [
            life.id for life in self.instances.lives.values() if life.zone == zone and life.id in self.machines.known
        ]
        self.faults.zones_down.add(zone)
        for name in there:
            self.machines.fault(name, "silent")
        yield
        self.faults.zones_down.discard(zone)
        for name in there:
            if name in self.machines.known:
                self.machines.fault(name, "")

    # -- inside

    def _carry_out(self, call: Call) -> bytes:
        """Carry one call out, and return the bytes that answer it."""
        return written(call.service, call.action, self._answer(call))

    def _answer(self, call: Call) -> Json:
        """Carry one call out; in the API's own thread, so that calls happen one after another."""
        self._tick()
        self.gate.check(call)
        if call.is_trial:
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
        if call.is_daemons:
            self.limits.take(call)
            self._describing.check_zones(call, self.faults.zones_down)
        action = self._actions.get((call.service, call.action))
        if action is None and call.service == "autoscaling":
            raise AwsError("InvalidAction", f"the stand-in has no {call.action}")
        answer = action(call) if action else self._emulator.call(call.service, call.action, call.params)
        self._tick()
        return answer

    async def _go_on(self) -> None:
        """Let time pass while nobody calls."""
        try:
            while True:
                self._tick()
                await asyncio.sleep(0.02)
        except Exception as error:  # noqa: BLE001  # told at the end: a stand-in that broke proves nothing
            self.server.failures.append(error)

    def _tick(self) -> None:
        self.instances.tick()
        self.groups.tick()
        self.balancer.tick()
        self._snapshots.tick()
        for life in self.instances.lives.values():
            is_known = life.id in self.machines.known or not life.is_gone
            if is_known and life.address.startswith("127."):
                image = str(life.instance.image_id)
                self.machines.show(life.id, life.address, image, self._seen(life), life.boots)

    def _seen(self, life: Life) -> str:
        """How the network shows a machine."""
        if life.state != "running" or not any(self._lets_in(group) for group in groups_of(life)):
            return "off"
        return "on" if self.clock.now >= life.running + self.timing.booting else "booting"

    def _lets_in(self, group: Any) -> bool:  # Any: moto's object
        """Whether a security group has a rule for the machines' port."""
        return any(
            rule.ip_protocol == "-1"
            or (rule.ip_protocol == "tcp" and int(rule.from_port) <= self.machines.port <= int(rule.to_port))
            for rule in group.ingress_rules
        )


@cache
def _session() -> Any:  # Any: boto3's
    """Return a session that has its models at hand: reading them anew takes a third of a second for each client."""
    return boto3.session.Session()


async def _as_coroutine(work: Any) -> None:  # Any: a function without arguments whose result nobody wants
    work()
