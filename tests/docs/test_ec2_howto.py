"""The page for a first fleet on AWS, executed by a shell as it stands: what it builds has nothing wrong with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.standins.aws import Aws, build

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "ec2.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
(TOML,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def run(folder: Path, text: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a piece of the page; variables that it sets are kept in a file, as a person's shell keeps them."""
    kept = folder / "variables"
    script = f"set -eu\n[ ! -f {kept} ] || . {kept}\n{text}\ndeclare -p | grep -E '^declare -- [A-Z]+=' > {kept}\n"
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


def variables(folder: Path) -> dict[str, str]:
    """Return the variables that the page has set."""
    return dict(re.findall(r'^declare -- ([A-Z]+)="(.*)"$', (folder / "variables").read_text(), re.MULTILINE))


def test_the_page_builds_a_fleet_with_nothing_wrong(tmp_path: Path) -> None:
    """Every command in order, then the configuration with the ids that they named; validate finds notes alone."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shim = programs / "aws"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests" / "docs" / "aws_cli.py"} "$@"\n')
    shim.chmod(0o755)
    sickbay = programs / "sickbay"
    sickbay.write_text(f'#!/bin/sh\nexec {sys.executable} -m supervisor "$@"\n')
    sickbay.chmod(0o755)
    with Aws() as aws:
        world = build(aws)
        environment = dict(os.environ) | aws.environment | {"PATH": f"{programs}:{os.environ['PATH']}"}
        environment |= {"PYTHONPATH": str(ROOT), "AWS_REGION": aws.region}
        environment.pop("AWS_PROFILE", None)
        there = {
            "VPC": world.vpc,
            "SUBNETS": '"' + " ".join(world.subnets.values()) + '"',
            "IMAGE": world.image,
            "BALANCER": world.load_balancer,
            "SERVING": world.serving,
        }
        given, *building, permissions, look = SHELL
        for name, value in there.items():
            given, count = re.subn(rf"^{name}=.*$", f"{name}={value}", given, flags=re.MULTILINE)
            assert count == 1
        for text in (given, *building):
            result = run(tmp_path, text, environment)
            assert (0, "") == (result.returncode, result.stderr), text
        made = variables(tmp_path)
        (tmp_path / "config.toml").write_text(configuration(made, list(world.subnets.values())), encoding="utf-8")

        result = run(tmp_path, permissions, environment)
        assert 0 == result.returncode, result.stderr
        assert all(line.startswith("note: ") for line in result.stderr.splitlines())
        (document,) = aws.admin("iam").list_policies(Scope="Local")["Policies"]
        version = aws.admin("iam").get_policy_version(PolicyArn=document["Arn"], VersionId="v1")
        aws.policy = version["PolicyVersion"]["Document"]
        result = run(tmp_path, look, environment)

    assert (0, "") == (result.returncode, result.stderr)
    assert "is good" in result.stdout
    assert "drains for 60 s" in result.stdout
    told = [line for line in result.stdout.splitlines() if "warning: " in line or "error: " in line]
    assert [] == told


def configuration(made: dict[str, str], subnets: list[str]) -> str:
    """Return the page's configuration with the ids that were made instead of its examples."""
    text = TOML
    for key, value in {
        "launch_template": made["TEMPLATE"],
        "isolation_group": made["ISOLATION"],
        "untrack_group": made["UNTRACK"],
    }.items():
        text = re.sub(rf'^{key} = "[^"]*"', f'{key} = "{value}"', text, flags=re.MULTILINE)
    text = re.sub(r"^subnets = .*$", f"subnets = {subnets!r}".replace("'", '"'), text, flags=re.MULTILINE)
    return re.sub(r"^target_groups = .*$", f'target_groups = ["{made["TARGETS"]}"]', text, flags=re.MULTILINE)
