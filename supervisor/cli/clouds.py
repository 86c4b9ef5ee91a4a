"""What needs no daemon but a cloud: the permissions that it has to give, and a look at what a fleet stands on."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from supervisor.cli.base import BAD_CONFIG, DEFAULT_CONFIG, WRONG_USE, ConfigOption, app, fail, print_json, sentences
from supervisor.config import Config, FleetConfig
from supervisor.daemon import read_config
from supervisor.plugins import Catalogue
from supervisor.ports import Finding
from supervisor.providers.ec2 import Ec2Options
from supervisor.providers.ec2.permissions import LARGEST, Policy, partition_of, policy, size, verbs

KMS = (
    "where volumes are encrypted with a key of your own, allow kms:CreateGrant on it as well, on the condition that"
    " kms:GrantIsForAWSResource is true"
)


@app.command(name="iam-policy")
def iam_policy(
    config: ConfigOption = DEFAULT_CONFIG,
    account: Annotated[str, typer.Option(help="The AWS account, 12 digits; asked of AWS if it is nowhere named.")] = "",
    fleet: Annotated[list[str] | None, typer.Option(help="Only this fleet; may be repeated. Default: all.")] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="The ARN of the role that machines run under (of the template's instance profile)."),
    ] = None,
) -> None:
    """Print the least IAM policy under which the fleets on AWS can be healed: JSON on stdout, what to mind on stderr."""
    with sentences():
        checked, _ = read_config(config)
        chosen = dict(_on_aws(config, checked, fleet or ()))
        options = {name: each.options for name, each in chosen.items() if isinstance(each.options, Ec2Options)}
        document = policy(
            options,
            _account(options, account),
            _partition(options),
            enabled={name: verbs(steps_of(each)) for name, each in chosen.items()},
            roles=role or (),
        )
        print_json(document)
        for note in _notes(options, document, has_roles=bool(role)):
            sys.stderr.write(f"note: {note}\n")


def looked_at(config: Config, catalogue: Catalogue) -> list[tuple[str, Finding]]:
    """Look at every fleet's cloud, where its provider can; by fleet. Raises `ProviderError`, `CloudSilent`."""
    found: list[tuple[str, Finding]] = []
    for name, fleet in config.fleets.items():
        look = getattr(catalogue.providers[fleet.provider], "preflight", None)
        found += [(name, finding) for finding in look(name, fleet.options, steps_of(fleet))] if look else []
    return found


def steps_of(fleet: FleetConfig) -> frozenset[str]:
    """Return the verbs of every step that the fleet's remediations plan."""
    return frozenset(str(step.verb) for rung in fleet.policy.ladder for step in rung.plan)


def _on_aws(path: Path, config: Config, wanted: Sequence[str]) -> Iterator[tuple[str, FleetConfig]]:
    known = {name: each for name, each in config.fleets.items() if each.provider == "ec2"}
    for name in wanted:
        if name not in known:
            fail(f"--fleet {name}: there is no such fleet on AWS; known: {', '.join(known) or 'none'}", WRONG_USE)
    if not known:
        fail(f'{path}: no fleet has provider = "ec2"; a policy is for fleets on AWS', BAD_CONFIG)
    yield from ((name, each) for name, each in known.items() if not wanted or name in wanted)


def _account(fleets: Mapping[str, Ec2Options], given: str) -> str:
    """Return the account: as given, as the target groups' ARNs say, or as AWS says of the credentials."""
    if given and not re.fullmatch(r"\d{12}", given):
        fail(f"--account {given}: expected the 12 digits of an AWS account", WRONG_USE)
    named = {arn.split(":")[4]: name for name, options in fleets.items() for arn in options.target_groups}
    if given:
        named.setdefault(given, "--account")
    if len(named) > 1:
        told = ", ".join(f"{number} ({name})" for number, name in sorted(named.items()))
        fail(f"several AWS accounts are named: {told}; a policy is for one, choose its fleets with --fleet", WRONG_USE)
    if named:
        return next(iter(named))
    asked = {_asked(options) for options in fleets.values()} - {""}
    why = (
        "the fleets' profiles lead to several accounts" if asked else "AWS can't be asked, and no target group names it"
    )
    if len(asked) != 1:
        fail(f"the AWS account is not known: {why}; give --account with its 12 digits", WRONG_USE)
    return next(iter(asked))


def _asked(options: Ec2Options) -> str:
    """Return whose the credentials are; '' where nobody says."""
    if importlib.util.find_spec("boto3") is None:
        return ""
    from supervisor.providers.ec2.api import BotoApi, ReadError  # noqa: PLC0415  # boto3 is an extra

    api = BotoApi(options.region, options.profile, patience=5.0)
    try:
        return str(api.read("sts", "GetCallerIdentity").get("Account", ""))
    except ReadError:
        return ""
    finally:
        api.close()


def _partition(fleets: Mapping[str, Ec2Options]) -> str:
    found = {partition_of(options.region): name for name, options in fleets.items()}
    if len(found) > 1:
        told = ", ".join(f"{partition} ({name})" for partition, name in sorted(found.items()))
        fail(f"the fleets' regions are of several AWSes: {told}; choose the fleets of one with --fleet", WRONG_USE)
    return next(iter(found))


def _notes(fleets: Mapping[str, Ec2Options], document: Policy, *, has_roles: bool) -> Iterator[str]:
    launching = [name for name, options in fleets.items() if not options.auto_scaling_group]
    length = size(document)
    yield f"{length:,} characters as IAM counts them; a managed policy holds {LARGEST:,}"
    if length > LARGEST:
        yield "too long for one managed policy: print several with --fleet NAME, and attach each of them"
    for name in launching:
        yield f"images of {name} carry the tag sickbay:golden = {name}, and are this account's own"
    for name in fleets:
        yield f"security groups that machines of {name} serve with carry the tag sickbay:fleet = {name}"
    if launching and not has_roles:
        yield "where a launch template names an instance profile, give its role with --role, or launches are refused"
    yield KMS
