"""A look at everything that a fleet on AWS stands on, before it is healed: `sickbay validate --cloud`.

It reads, and tries what is permitted without doing it; nothing is changed. Each finding is one sentence: what was found,
what was expected, what to do. A fleet that stands as docs/howto/ec2.md builds it has no errors and no warnings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeAlias

from supervisor.errors import CloudSilent
from supervisor.ports import Finding, Severity
from supervisor.providers.ec2.api import Api, ReadError
from supervisor.providers.ec2.options import Ec2Options
from supervisor.providers.ec2.scope import FLEET, STATE, of_tags
from supervisor.providers.ec2.trials import DENIED, tried

Shown: TypeAlias = Any  # Any: something as AWS shows it

KINDS = ("instance", "volume", "network-interface")
UNFINISHED = ("Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress")
LIVING = ("pending", "running", "stopping", "stopped")
MANY = 1000
NAMED = 3  # machines by name; the others are counted


def preflight(fleet: str, options: Ec2Options, api: Api, verbs: Collection[str]) -> list[Finding]:
    """Return what was found, errors first. `verbs` are what the fleet's remediations do.

    Raises `CloudSilent` where AWS does not answer or takes no credentials.
    """
    look = _Look(fleet, options, api)
    found = [*look.everything(), *tried(fleet, options, api, verbs, look.ours, look.foreign)]
    return sorted(dict.fromkeys(found), key=lambda finding: list(Severity).index(finding.severity))


def _error(sentence: str) -> Finding:
    return Finding(Severity.ERROR, sentence)


def _warning(sentence: str) -> Finding:
    return Finding(Severity.WARNING, sentence)


class _Look:
    """One fleet's surroundings, read once."""

    def __init__(self, fleet: str, options: Ec2Options, api: Api) -> None:
        self.fleet = fleet
        self.options = options
        self._api = api
        self._denied: list[Finding] = []
        self.subnets: list[Shown] = []
        self.vpc = ""
        self.ours: Shown = None
        self.foreign: Shown = None

    def everything(self) -> Iterator[Finding]:
        """Yield what is wrong, part by part."""
        yield from self._places()
        template = self._one("ec2", "DescribeLaunchTemplateVersions", "LaunchTemplateVersions", **self._version())
        if template is not None:
            yield from self._template(template.get("LaunchTemplateData", {}))
        elif not self._denied:
            yield _error(
                f"launch_template = {self.options.launch_template}, version {self.options.template_version}, is not there"
                f" in {self.options.region}; name one that is"
            )
        yield from self._groups(template.get("LaunchTemplateData", {}) if template else {})
        yield from self._balancers()
        yield from self._scaling()
        yield from self._machines()
        yield from self._denied

    # -- reading

    def _pages(self, service: str, action: str, key: str, **params: object) -> list[Shown]:
        """Return all there is; nothing where AWS says that it is not there, or that we may not look."""
        try:
            return self._api.pages(service, action, key, **params)
        except ReadError as error:
            self._judge(service, action, error)
            return []

    def _one(self, service: str, action: str, key: str, **params: object) -> Shown:
        found = self._pages(service, action, key, **params)
        return found[0] if found else None

    def _judge(self, service: str, action: str, error: ReadError) -> None:
        if error.code in DENIED:
            prefix = "elasticloadbalancing" if service == "elbv2" else service
            self._denied.append(
                _error(f"not permitted: {prefix}:{action}; attach the policy that `sickbay iam-policy` prints")
            )
        elif "NotFound" not in error.code and "Malformed" not in error.code and error.code != "ValidationError":
            raise CloudSilent(
                f"AWS can't be asked about fleet {self.fleet}: {error}; see that this machine reaches AWS in"
                f" {self.options.region} and has credentials for it"
            ) from error

    # -- judging

    def _places(self) -> Iterator[Finding]:
        wanted = [{"Name": "subnet-id", "Values": list(self.options.subnets)}]
        self.subnets = self._pages("ec2", "DescribeSubnets", "Subnets", Filters=wanted)
        missing = set(self.options.subnets) - {s["SubnetId"] for s in self.subnets}
        if missing and not self._denied:
            yield _error(f"subnets: {_listed(missing)} not there in {self.options.region}; name subnets that are")
        networks = sorted({s["VpcId"] for s in self.subnets})
        if len(networks) > 1:
            yield _error(f"subnets: they lie in {_listed(networks)}; a fleet lives in one VPC, with its groups")
        self.vpc = networks[0] if networks else ""

    def _version(self) -> dict[str, object]:
        return {
            "LaunchTemplateId": self.options.launch_template,
            "Versions": [str(self.options.template_version)],
        }

    def _template(self, data: Shown) -> Iterator[Finding]:
        name = self.options.launch_template
        tags = {
            spec["ResourceType"]: {t["Key"]: t.get("Value", "") for t in spec.get("Tags", [])}
            for spec in data.get("TagSpecifications", [])
        }
        bare = [kind for kind in KINDS if tags.get(kind, {}).get(FLEET) != self.fleet]
        if bare:
            yield _error(
                f"launch_template {name} does not tag each {_listed(bare, 'and')} with sickbay:fleet = {self.fleet}; add that to"
                " its TagSpecifications, since what lacks the tag can't be set aside"
            )
        if data.get("NetworkInterfaces") and not self.options.auto_scaling_group:
            yield _error(
                f"launch_template {name} describes network interfaces, and then AWS takes no subnet beside them; name its"
                " SecurityGroupIds instead"
            )
        yield from self._image(str(data.get("ImageId", "")))

    def _image(self, image: str) -> Iterator[Finding]:
        if not image.startswith("ami-"):
            yield _error(
                f"launch_template {self.options.launch_template} names the image {image or 'not at all'}; expected the id of"
                " one image (ami-…), so that every launch of a version is the same"
            )
            return
        shown = self._one("ec2", "DescribeImages", "Images", ImageIds=[image], IncludeDeprecated=True)
        if shown is None:
            if not self._denied:
                yield _error(f"image {image} of the launch template is not there; put one into the template that is")
            return
        if shown.get("State") != "available":
            yield _error(
                f"image {image} is {shown.get('State')}; expected available, or nothing can be launched from it"
            )
        golden = {t["Key"]: t["Value"] for t in shown.get("Tags", [])}.get("sickbay:golden", "")
        if golden != self.fleet and not self.options.auto_scaling_group:
            # Another fleet's image is a mistake; one without a tag is refused by our policy, not by everybody's.
            yield Finding(
                Severity.ERROR if golden else Severity.WARNING,
                f"image {image} carries sickbay:golden = {golden or 'nothing'}; expected {self.fleet}: the policy launches"
                " golden images alone, so tag it, or put the right image into the template",
            )

    def _groups(self, template: Shown) -> Iterator[Finding]:
        named = {"isolation_group": self.options.isolation_group}
        if self.options.untrack_group:
            named["untrack_group"] = self.options.untrack_group
        serving = list(template.get("SecurityGroupIds", []))
        serving += [group for card in template.get("NetworkInterfaces", []) for group in card.get("Groups", [])]
        wanted = [{"Name": "group-id", "Values": [*named.values(), *serving]}]
        shown = {
            g["GroupId"]: g for g in self._pages("ec2", "DescribeSecurityGroups", "SecurityGroups", Filters=wanted)
        }
        if self._denied:
            return
        for option, name in named.items():
            if name not in shown:
                yield _error(f"{option} = {name} is not there in {self.options.region}; make it, or name one that is")
            elif self.vpc and shown[name]["VpcId"] != self.vpc:
                yield _error(
                    f"{option} = {name} lies in {shown[name]['VpcId']}; expected {self.vpc}, where the subnets are: make one there"
                )
        yield from self._isolation(shown.get(self.options.isolation_group))
        yield from self._untrack(shown.get(self.options.untrack_group or ""))
        for name in serving:
            tags = {t["Key"]: t["Value"] for t in shown.get(name, {}).get("Tags", [])}
            if name in shown and tags.get(FLEET) != self.fleet:
                yield _error(
                    f"security group {name} of the launch template lacks sickbay:fleet = {self.fleet}; tag it, since the policy"
                    " lets a released machine have only such groups back"
                )

    def _isolation(self, group: Shown) -> Iterator[Finding]:
        if group is None:
            return
        name = group["GroupId"]
        if group.get("IpPermissions"):
            yield _error(f"isolation_group = {name} lets traffic in; expected a group without any rule: revoke them")
        out = group.get("IpPermissionsEgress", [])
        if any(_is_all(rule) for rule in out):
            yield _error(
                f"isolation_group = {name} lets everything out, as every new group does; revoke that rule (aws ec2"
                " revoke-security-group-egress), or a machine set aside still talks"
            )
        elif out:
            yield _error(f"isolation_group = {name} lets traffic out; expected a group without any rule: revoke them")

    def _untrack(self, group: Shown) -> Iterator[Finding]:
        if group is None:
            return
        ways = {"in": group.get("IpPermissions", []), "out": group.get("IpPermissionsEgress", [])}
        shut = [way for way, rules in ways.items() if not any(_is_all(rule) for rule in rules)]
        if shut:
            yield _warning(
                f"untrack_group = {group['GroupId']} does not let everything {_listed(shut, 'and')}; expected a rule for all"
                " protocols and 0.0.0.0/0 each way, since connections that are tracked outlive their isolation"
            )

    def _balancers(self) -> Iterator[Finding]:
        for arn in self.options.target_groups:
            shown = self._one("elbv2", "DescribeTargetGroups", "TargetGroups", TargetGroupArns=[arn])
            if shown is not None:
                yield from self._target_group(arn, shown)
            elif not self._denied:
                yield _error(f"target_groups: {arn} is not there; name one that is")

    def _target_group(self, arn: str, shown: Shown) -> Iterator[Finding]:
        name = shown["TargetGroupName"]
        if shown.get("TargetType", "instance") != "instance":
            yield _error(
                f"target group {name} takes targets of type {shown['TargetType']}; expected instance, since machines are"
                " registered by their ids: make one of that type"
            )
        if shown.get("HealthCheckEnabled") is False:
            yield _error(
                f"target group {name} checks nobody's health; switch its health check on, or no newcomer is ever confirmed"
            )
        if self.vpc and shown.get("VpcId") and shown["VpcId"] != self.vpc:
            yield _error(
                f"target group {name} lies in {shown['VpcId']}, the subnets in {self.vpc}; machines can't be registered"
                " across VPCs: name subnets or a target group of the same"
            )
        yield from self._zones(name, list(shown.get("LoadBalancerArns", [])))
        asked = {"TargetGroupArn": arn}
        attributes = self._pages("elbv2", "DescribeTargetGroupAttributes", "Attributes", **asked)
        delay = {a["Key"]: a["Value"] for a in attributes}.get("deregistration_delay.timeout_seconds")
        if delay:
            yield Finding(
                Severity.NOTE,
                f"target group {name} drains for {delay} s: so long a machine that is taken out may still be answering",
            )

    def _zones(self, group: str, balancers: Sequence[str]) -> Iterator[Finding]:
        if not balancers:
            yield _error(f"target group {group} belongs to no load balancer; add a listener that forwards to it")
            return
        found = self._pages("elbv2", "DescribeLoadBalancers", "LoadBalancers", LoadBalancerArns=list(balancers))
        for balancer in found:
            enabled = {zone["ZoneName"] for zone in balancer.get("AvailabilityZones", [])}
            off = {s["AvailabilityZone"] for s in self.subnets} - enabled
            if off:
                yield _error(
                    f"load balancer {balancer['LoadBalancerName']} is not enabled in {_listed(off)}, where subnets are; its"
                    " targets there would get nothing (Target.NotInUse): enable the zone, or leave the subnet out"
                )

    def _scaling(self) -> Iterator[Finding]:
        name = self.options.auto_scaling_group
        if not name:
            return
        wanted = {"AutoScalingGroupNames": [name]}
        group = self._one("autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", **wanted)
        if group is None:
            if not self._denied:
                yield _error(f'auto_scaling_group = "{name}" is not there in {self.options.region}; name one that is')
            return
        yield from self._owner(name, group)
        suspended = {process["ProcessName"] for process in group.get("SuspendedProcesses", [])}
        for process, severity in (("Launch", Severity.ERROR), ("ReplaceUnhealthy", Severity.WARNING)):
            if process in suspended:
                yield Finding(
                    severity,
                    f"{process} is suspended in the group {name}; resume it, since the group is to bring a new machine for"
                    " each that it loses",
                )
        refreshes = self._pages(
            "autoscaling", "DescribeInstanceRefreshes", "InstanceRefreshes", AutoScalingGroupName=name
        )
        running = [r for r in refreshes if r.get("Status") in UNFINISHED]
        if running:
            yield _warning(
                f"an instance refresh of the group {name} is {running[0]['Status']}; let it end first, since it replaces"
                " machines as well"
            )
        if group.get("WarmPoolConfiguration"):
            yield _warning(
                f"the group {name} has a warm pool; its waiting machines are not judged, and a detached one may be followed"
                " by one of them"
            )
        if group["DesiredCapacity"] >= group["MaxSize"]:
            yield _warning(
                f"the group {name} is at its maximum ({group['DesiredCapacity']} of {group['MaxSize']}); raise MaxSize by one, so"
                " that it has room to put a machine elsewhere"
            )

    def _owner(self, name: str, group: Shown) -> Iterator[Finding]:
        theirs, ours = set(group.get("TargetGroupARNs", [])), set(self.options.target_groups)
        if theirs != ours:
            differing = _listed(arn.rpartition(":")[2] for arn in theirs ^ ours)
            yield _error(f"target_groups and those of the group {name} differ in {differing}; make them the same")
        mixed = group.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification", {})
        template = (group.get("LaunchTemplate") or mixed or {}).get("LaunchTemplateId", "no template")
        if template != self.options.launch_template:
            yield _error(
                f"the group {name} launches from {template}, launch_template is {self.options.launch_template}; make them the same"
            )
        if group.get("HealthCheckType", "EC2") != "EC2":
            yield _error(
                f"the group {name} also asks the load balancer about health ({group['HealthCheckType']}): it would end a machine"
                " that is taken out, before that can be kept; set its health check type to EC2"
            )

    def _machines(self) -> Iterator[Finding]:
        living = {"Name": "instance-state-name", "Values": list(LIVING)}
        born = {"Name": "tag:aws:ec2launchtemplate:id", "Values": [self.options.launch_template]}
        strays = [i for i in self._instances([living, born]) if _tags(i).get(FLEET) != self.fleet]
        if strays:
            names = [i["InstanceId"] for i in strays]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield _warning(
                f"{_listed(names[:NAMED])}{more} came from the launch template, but lack sickbay:fleet = {self.fleet}; they are"
                " nobody's: tag them and their disks and interfaces, or let them go"
            )
        mine = {"Name": "tag:sickbay:fleet", "Values": [self.fleet]}
        ours = self._instances([living, mine])
        # One that is in nobody's hands tells most: a mark on it permits more.
        self.ours = min(ours, key=lambda i: bool(_tags(i).get(STATE)), default=None)
        self.foreign = next((i for i in self._some([living]) if FLEET not in _tags(i)), None)

    def _instances(self, filters: list[Shown]) -> list[Shown]:
        found = self._pages("ec2", "DescribeInstances", "Reservations", Filters=filters)
        return [instance for reservation in found for instance in reservation["Instances"]]

    def _some(self, filters: list[Shown]) -> list[Shown]:
        """Return one page: one foreign machine is enough, and an account may have many thousands."""
        try:
            answer = self._api.read("ec2", "DescribeInstances", Filters=filters, MaxResults=MANY)
        except ReadError as error:
            self._judge("ec2", "DescribeInstances", error)
            return []
        return [instance for reservation in answer.get("Reservations", []) for instance in reservation["Instances"]]


def _is_all(rule: Shown) -> bool:
    return rule.get("IpProtocol") == "-1" and any(r.get("CidrIp") == "0.0.0.0/0" for r in rule.get("IpRanges", []))


def _tags(shown: Shown) -> dict[str, str]:
    return of_tags(shown.get("Tags", []))


def _listed(names: Collection[str] | Iterator[str], last: str = ",") -> str:
    """Return names as people list them."""
    found = sorted(names)
    if last == ",":
        return ", ".join(found)
    return f" {last} ".join(found)
