"""`sickbay iam-policy` and `sickbay validate --cloud`, as they are typed: what is printed where, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from supervisor.cli import app
from tests.providers.ec2_gate.conftest import bound
from tests.standins.aws import World

pytestmark = pytest.mark.acceptance

ARN = "arn:aws:elasticloadbalancing:eu-central-1:{}:targetgroup/{}/0123456789abcdef"
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def fleet(name: str, **other: object) -> str:
    """Return a fleet's tables."""
    usual: dict[str, object] = {
        "region": "eu-central-1",
        "launch_template": "lt-0123456789abcdef0",
        "subnets": ["subnet-0123456789abcdef0"],
        "isolation_group": "sg-0123456789abcdef0",
    }
    own = "\n".join(f"{key} = {json.dumps(value)}" for key, value in (usual | other).items())
    return (
        f'[fleet.{name}]\nprovider = "ec2"\ndesired = 2\nversion = "1.0.0"\n[fleet.{name}.ec2]\n{own}\n'
        f'[[fleet.{name}.check]]\nkind = "tcp"\nport = 80\nrole = "liveness"\n'
    )


def of(world: World) -> str:
    """Return the tables of a world's fleet."""
    return fleet(
        "web",
        launch_template=world.template,
        subnets=list(world.subnets.values()),
        target_groups=[world.target_group],
        isolation_group=world.isolation,
        untrack_group=world.untrack,
    )


def typed(folder: Path, tables: str, *words: str, environment: dict[str, str] | None = None) -> Result:
    """Return what a command prints."""
    (folder / "config.toml").write_text(tables, encoding="utf-8")
    nobody = {"AWS_ENDPOINT_URL": NOWHERE, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null"}
    nobody |= {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "CANARY-secret"}
    runner = CliRunner(env=(environment or nobody) | {"SICKBAY_CONFIG": str(folder / "config.toml")})
    return runner.invoke(app, list(words))


def test_the_policy_alone_is_on_stdout(tmp_path: Path) -> None:
    """What to mind is on stderr, so that stdout can be attached as it is; the account is the target group's."""
    shown = typed(tmp_path, fleet("web", target_groups=[ARN.format("123456789012", "web")]), "iam-policy")

    assert 0 == shown.exit_code
    assert "2012-10-17" == json.loads(shown.stdout)["Version"]
    assert "ec2:Owner': '123456789012'" in str(json.loads(shown.stdout))
    assert "note: where a launch template names an instance profile, give its role with --role" in shown.stderr
    assert "a managed policy holds 6,144" in shown.stderr
    assert "too long" not in shown.stderr


def test_the_account_is_asked_of_aws_where_nobody_names_it(world: World, tmp_path: Path) -> None:
    """Of the credentials that are there."""
    shown = typed(tmp_path, fleet("web"), "iam-policy", environment=world.aws.environment)

    assert 0 == shown.exit_code
    assert f"'ec2:Owner': '{world.aws.account}'" in str(json.loads(shown.stdout))


MANY = "".join(
    fleet(f"fleet{n}", launch_template=f"lt-{n:017x}", target_groups=[ARN.format("123456789012", f"f{n}")])
    for n in range(9)
)
BAD: dict[str, tuple[str, tuple[str, ...], int, str]] = {
    "an account that nobody knows": (fleet("web"), (), 2, "the AWS account is not known: AWS can't be asked"),
    "an account that is none": (fleet("web"), ("--account", "12"), 2, "expected the 12 digits of an AWS account"),
    "another account than the target group's": (
        fleet("web", target_groups=[ARN.format("123456789012", "web")]),
        ("--account", "210987654321"),
        2,
        "several AWS accounts are named: 123456789012 (web), 210987654321 (--account)",
    ),
    "fleets of several accounts": (
        fleet("web", target_groups=[ARN.format("123456789012", "web")])
        + fleet("api", target_groups=[ARN.format("210987654321", "api")]),
        (),
        2,
        "a policy is for one, choose its fleets with --fleet",
    ),
    "regions of several AWSes": (
        fleet("web") + fleet("api", region="cn-north-1"),
        ("--account", "123456789012"),
        2,
        "the fleets' regions are of several AWSes: aws (web), aws-cn (api)",
    ),
    "a fleet that is not there": (fleet("web"), ("--fleet", "api"), 2, "no such fleet on AWS; known: web"),
}


@pytest.mark.parametrize("row", BAD)
def test_what_no_policy_can_be_made_of_is_one_sentence(tmp_path: Path, row: str) -> None:
    """And nothing on stdout that somebody might attach."""
    tables, words, code, sentence = BAD[row]
    shown = typed(tmp_path, tables, "iam-policy", *words)

    assert (code, "") == (shown.exit_code, shown.stdout)
    assert sentence in shown.stderr
    assert 1 == len(shown.stderr.splitlines())


def test_without_a_fleet_on_aws_there_is_no_policy(tmp_path: Path) -> None:
    """The shipped configuration has none."""
    shown = typed(tmp_path, (Path(__file__).parents[3] / "config.toml").read_text(encoding="utf-8"), "iam-policy")

    assert (78, "") == (shown.exit_code, shown.stdout)
    assert 'no fleet has provider = "ec2"' in shown.stderr


def test_a_policy_that_is_too_long_says_what_to_do(tmp_path: Path) -> None:
    """Several documents, each for some fleets."""
    shown = typed(tmp_path, MANY, "iam-policy")
    part = typed(tmp_path, MANY, "iam-policy", "--fleet", "fleet1", "--fleet", "fleet2")

    assert "print several with --fleet NAME, and attach each of them" in shown.stderr
    assert "print several" not in part.stderr
    assert "fleet3" not in part.stdout


def test_a_cloud_as_it_should_be_is_good(world: World, tmp_path: Path) -> None:
    """Notes are no trouble."""
    bound(world)
    shown = typed(tmp_path, of(world), "validate", "--cloud", environment=world.aws.environment)

    assert 0 == shown.exit_code
    assert "config.toml is good" in shown.stdout
    assert "  note: fleet web: no machine carries sickbay:fleet = web yet" in shown.stdout
    assert [] == world.aws.log.daemons


def test_a_warning_is_no_error(world: World, tmp_path: Path) -> None:
    """It is told, and the command ends well."""
    world.aws.do("ec2", "DeleteTags", Resources=world.launch(), Tags=[{"Key": "sickbay:fleet"}])
    bound(world)
    shown = typed(tmp_path, of(world), "validate", "--cloud", environment=world.aws.environment)

    assert 0 == shown.exit_code
    assert "  warning: fleet web: i-" in shown.stdout


def test_an_error_ends_with_78(world: World, tmp_path: Path) -> None:
    """For people and for programs."""
    world.aws.set_image(world.image, "failed")
    shown = typed(tmp_path, of(world), "validate", "--cloud", environment=world.aws.environment)
    document = typed(tmp_path, of(world), "validate", "--cloud", "--json", environment=world.aws.environment)

    assert (78, 78) == (shown.exit_code, document.exit_code)
    assert f"  error: fleet web: image {world.image} is failed; expected available" in shown.stdout
    assert not json.loads(document.stdout)["ok"]
    assert {"fleet": "web", "severity": "error"}.items() <= json.loads(document.stdout)["cloud"][0].items()


KEYLESS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@pytest.mark.parametrize("environment", [None, KEYLESS], ids=["nobody answers", "there are no credentials"])
def test_an_aws_that_cannot_be_asked_ends_with_69(
    tmp_path: Path, environment: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence that says what to see to."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    shown = typed(tmp_path, fleet("web"), "validate", "--cloud", environment=environment)

    assert (69, "") == (shown.exit_code, shown.stdout)
    assert 1 == len(shown.stderr.splitlines())
    assert shown.stderr.startswith("sickbay: AWS can't be asked about fleet web: ")
    assert "has credentials for it" in shown.stderr
