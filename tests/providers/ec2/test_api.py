"""Every outcome of a call is one of four: yes, a definite no, later, doubt. Row by row, and over real HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from supervisor.providers.ec2.api import (
    THROTTLING,
    AwsDoubt,
    AwsLater,
    AwsNo,
    BotoApi,
    ReadError,
    is_whole,
    sorted_out,
)
from supervisor.providers.ec2.buckets import Buckets
from tests.standins.aws import World

pytestmark = pytest.mark.acceptance

Kind = type[AwsNo] | type[AwsLater] | type[AwsDoubt]


def refusal(code: str, status: int, message: str = "as it is", request: str = "r-1") -> boto.ClientError:
    """Return what botocore raises for an error of AWS."""
    about: Any = {"HTTPStatusCode": status} | ({"RequestId": request} if request else {})
    return boto.ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": about}, "RunInstances")


SORTED: dict[str, tuple[Exception, Kind]] = {
    "a wrong parameter is a no": (refusal("InvalidParameterValue", 400), AwsNo),
    "not found is a no": (refusal("InvalidInstanceID.NotFound", 400), AwsNo),
    "not allowed is a no": (refusal("UnauthorizedOperation", 403), AwsNo),
    "not allowed, in the words of the other services": (refusal("AccessDenied", 403), AwsNo),
    "unknown keys are a no": (refusal("AuthFailure", 401), AwsNo),
    "keys that ran out are a no": (refusal("ExpiredToken", 400), AwsNo),
    "a trial that would be allowed": (refusal("DryRunOperation", 412), AwsNo),
    "a token used for something else": (refusal("IdempotentParameterMismatch", 400), AwsNo),
    "no capacity, as an error of the server": (refusal("InsufficientInstanceCapacity", 500), AwsNo),
    "no capacity, unavailable": (refusal("InsufficientInstanceCapacity", 503), AwsNo),
    "no host, as an error of the server": (refusal("InsufficientHostCapacity", 500), AwsNo),
    "no fleet, as an error of the server": (refusal("UnfulfillableCapacity", 500), AwsNo),
    "no addresses in the subnet": (refusal("InsufficientFreeAddressesInSubnet", 400), AwsNo),
    "too many calls, in EC2's words": (refusal("RequestLimitExceeded", 503), AwsLater),
    "too many calls, in other services' words": (refusal("Throttling", 400), AwsLater),
    "too many calls, as an exception": (refusal("ThrottlingException", 400), AwsLater),
    "too many requests": (refusal("TooManyRequestsException", 429), AwsLater),
    "EC2 was throttled for another service": (refusal("EC2ThrottledException", 400), AwsLater),
    "the request was throttled": (refusal("RequestThrottled", 400), AwsLater),
    "an internal error": (refusal("InternalError", 500), AwsDoubt),
    "an internal failure": (refusal("InternalFailure", 500), AwsDoubt),
    "unavailable": (refusal("Unavailable", 503), AwsDoubt),
    "AWS gave up waiting for the request": (refusal("RequestTimeout", 400), AwsDoubt),
    "an error of the server that nobody foresaw": (refusal("Novelty", 502), AwsDoubt),
    "a redirection": (refusal("301", 301), AwsDoubt),
    "a gateway's page": (refusal("504", 504, "Gateway Timeout", request=""), AwsDoubt),
    "a proxy's refusal, which AWS never saw or did": (refusal("403", 403, "Forbidden", request=""), AwsDoubt),
    "no answer in time": (boto.ReadTimeoutError(endpoint_url="x"), AwsDoubt),
    "no connection in time": (boto.ConnectTimeoutError(endpoint_url="x"), AwsDoubt),
    "no connection": (boto.EndpointConnectionError(endpoint_url="x"), AwsDoubt),
    "the connection was closed": (boto.ConnectionClosedError(endpoint_url="x"), AwsDoubt),
    "the connection was secured badly": (boto.SSLError(endpoint_url="x", error="y"), AwsDoubt),
    "the answer is no XML": (ResponseParserError("Unable to parse"), AwsDoubt),
    "the answer is another XML": (KeyError("RegisterTargetsResult"), AwsDoubt),
    "a bug": (RuntimeError("?"), AwsDoubt),
    "a parameter that can't be sent": (boto.ParamValidationError(report="Unknown parameter"), AwsNo),
    "no credentials": (boto.NoCredentialsError(), AwsLater),
    "half of the credentials": (boto.PartialCredentialsError(provider="env", cred_var="x"), AwsLater),
    "the role's credentials can't be had": (boto.CredentialRetrievalError(provider="x", error_msg="y"), AwsLater),
    "no such profile": (boto.ProfileNotFound(profile="ops"), AwsNo),
}


@pytest.mark.parametrize(("error", "expected"), SORTED.values(), ids=SORTED)
def test_what_an_exception_means_for_a_mutation(error: Exception, expected: Kind) -> None:
    """The table, row by row."""
    assert expected is type(sorted_out(error))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("RequestExpired", "Request has expired."),
        ("RequestTimeTooSkewed", "too skewed"),
        ("SignatureDoesNotMatch", "Signature expired: 20200101T000000Z is now earlier than 20200101T001000Z"),
    ],
)
def test_a_wrong_clock_is_named(code: str, message: str) -> None:
    """Nobody would guess it from AWS's words."""
    found = sorted_out(refusal(code, 400, message))
    assert isinstance(found, AwsNo)
    assert "this machine's clock differs from AWS's" in str(found)


WHOLE: dict[str, tuple[str, dict[str, object], bool]] = {
    "an empty yes": ("CreateTags", {"ResponseMetadata": {"RequestId": "r"}}, True),
    "a web page for an empty yes": ("CreateTags", {"ResponseMetadata": {"HTTPStatusCode": 200}}, False),
    "a launch": ("RunInstances", {"Instances": [{}], "ResponseMetadata": {"RequestId": "r"}}, True),
    "a launch that names nothing": ("RunInstances", {"ResponseMetadata": {"RequestId": "r"}}, False),
    "a web page for a launch": ("RunInstances", {"ResponseMetadata": {}}, False),
    "a stop that names nothing": ("StopInstances", {"ResponseMetadata": {"RequestId": "r"}}, False),
}


@pytest.mark.parametrize(("action", "answer", "expected"), WHOLE.values(), ids=WHOLE)
def test_a_yes_must_be_whole(action: str, answer: Any, expected: bool) -> None:
    """An SDK takes a page for a yes."""
    assert expected is is_whole(action, answer)


# ---------------------------------------------------------------------------------------------- over real HTTP

FAULTS: dict[str, Kind] = {
    "500": AwsDoubt,
    "hang": AwsDoubt,
    "reset": AwsDoubt,
    "close": AwsDoubt,
    "html": AwsDoubt,
    "xhtml": AwsDoubt,
    "truncated": AwsDoubt,
    "cut": AwsDoubt,
    "throttling": AwsLater,
    "limit": AwsLater,
    "error:InsufficientInstanceCapacity": AwsNo,
    "error:UnauthorizedOperation": AwsNo,
}
MUTATIONS = ("RunInstances", "CreateTags", "StopInstances", "RegisterTargets")


def mutate(world: World, api: BotoApi, action: str, machine: str) -> object:
    """Change something."""
    match action:
        case "RunInstances":
            return api.change("ec2", action, **world.request("t1"))
        case "CreateTags":
            return api.change("ec2", action, Resources=[machine], Tags=[{"Key": "a", "Value": "b"}])
        case "StopInstances":
            return api.change("ec2", action, InstanceIds=[machine])
    return api.change("elbv2", action, TargetGroupArn=world.target_group, Targets=[{"Id": machine}])


@pytest.mark.parametrize("action", MUTATIONS)
def test_every_fault_of_a_mutation_is_sorted_and_never_tried_twice(world: World, api: BotoApi, action: str) -> None:
    """Before or after its effect: from here the two look alike. One call goes out for one call."""
    (machine,) = world.launch()
    world.aws.limits.set("RunInstances", 100, 100)
    for kind, expected in FAULTS.items():
        for late in (False, True):
            world.aws.log.clear()
            world.aws.faults.add(action, kind, late=late)
            with pytest.raises((AwsNo, AwsLater, AwsDoubt)) as caught:
                mutate(world, api, action, machine)
            assert (kind, expected) == (kind, caught.type)
            assert [action] == [entry.action for entry in world.aws.log.daemons]
    assert mutate(world, api, action, machine)


@pytest.mark.parametrize(
    ("service", "action"),
    [
        ("ec2", "DescribeInstances"),
        ("elbv2", "DescribeTargetHealth"),
        ("autoscaling", "DescribeAutoScalingGroups"),
    ],
)
def test_every_fault_of_a_read_is_a_read_error(world: World, api: BotoApi, service: str, action: str) -> None:
    """An answer is whole, or there is none. What AWS calls it is kept."""
    params = {"TargetGroupArn": world.target_group} if service == "elbv2" else {}
    codes = {"500": "InternalError", "throttling": "Throttling", "limit": "RequestLimitExceeded"}
    for kind, meaning in FAULTS.items():
        world.aws.faults.add(action, kind, times=3)
        with pytest.raises(ReadError, match=f"{service} {action} in {world.aws.region}") as caught:
            api.read(service, action, **params)
        world.aws.faults.clear()
        code = codes.get(kind, kind.removeprefix("error:") if ":" in kind else "")
        is_no = meaning is AwsNo
        assert (kind, code, is_no) == (kind, caught.value.code, caught.value.is_no)
        assert api.read(service, action, **params)


def test_who_is_refused_as_one_too_many_slows_down(world: World) -> None:
    """Then nothing is sent before its turn; what would wait for too long is told so, in AWS's own words."""
    api = BotoApi(world.aws.region, buckets=Buckets({"mutations": (2, 0.01), "reads": (2, 0.01)}, patience=0.0))
    world.aws.faults.add("StopInstances", "limit")
    with pytest.raises(AwsLater, match="RequestLimitExceeded"):
        api.change("ec2", "StopInstances", InstanceIds=["i-1"])
    with pytest.raises(AwsLater, match="not sent: its turn would not have come"):
        api.change("ec2", "StopInstances", InstanceIds=["i-1"])
    for _ in range(2):
        api.read("ec2", "DescribeVolumes", MaxResults=5)
    with pytest.raises(ReadError, match="not sent") as caught:
        api.read("ec2", "DescribeVolumes", MaxResults=5)
    assert caught.value.code in THROTTLING
    assert ["StopInstances", "DescribeVolumes", "DescribeVolumes"] == world.aws.server.calls
    api.close()


def test_a_read_that_failed_once_is_asked_again(world: World, api: BotoApi) -> None:
    """By botocore: nobody need hear of it."""
    world.aws.faults.add("DescribeInstances", "500", times=2)
    assert [] == api.pages("ec2", "DescribeInstances", "Reservations")
    assert 3 == world.aws.server.calls.count("DescribeInstances")


def test_pages_are_all_or_nothing(world: World, api: BotoApi) -> None:
    """The third page fails, so there is no answer."""
    names = world.launch(6)

    def found() -> list[str]:
        pages = api.pages("ec2", "DescribeInstances", "Reservations", MaxResults=5)
        return [i["InstanceId"] for r in pages for i in r["Instances"]]

    assert sorted(names) == sorted(found())
    world.aws.faults.add("DescribeInstances", "error:InvalidNextToken", nth=2)
    with pytest.raises(ReadError) as caught:
        found()
    assert "InvalidNextToken" == caught.value.code


def test_an_answer_without_its_key_is_not_whole(world: World, api: BotoApi) -> None:
    """It would pass for "there are none"."""
    with pytest.raises(ReadError, match="the answer has no Machines, so it is not whole"):
        api.pages("ec2", "DescribeInstances", "Machines")


def test_a_trial_says_yes_by_a_no(world: World, api: BotoApi) -> None:
    """AWS's way of answering DryRun."""
    (machine,) = world.launch()
    with pytest.raises(AwsNo) as caught:
        api.change("ec2", "TerminateInstances", InstanceIds=[machine], DryRun=True)
    assert "DryRunOperation" == caught.value.code


def test_nobody_listens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubt for a mutation, a failed read for a read; both soon."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    api = BotoApi(world.aws.region)
    with pytest.raises(AwsDoubt, match="EndpointConnectionError"):
        api.change("ec2", "CreateTags", Resources=["i-1"], Tags=[])
    with pytest.raises(ReadError, match="Could not connect"):
        api.read("ec2", "DescribeInstances")
    api.close()


def test_missing_credentials_are_one_sentence(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing was sent, and they may come: a role's credentials do."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    api = BotoApi(world.aws.region)
    with pytest.raises(ReadError, match="no credentials for AWS in boto3's default chain"):
        api.read("ec2", "DescribeInstances")
    with pytest.raises(AwsLater, match="no credentials"):
        api.change("ec2", "CreateTags", Resources=["i-1"], Tags=[])
    with pytest.raises(ReadError, match='profile = "ops" is not in the AWS configuration files'):
        BotoApi(world.aws.region, "ops").read("ec2", "DescribeInstances")
    assert [] == world.aws.server.calls
    api.close()
