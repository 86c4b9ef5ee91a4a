"""What tests of the stand-in ask again and again."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from tests.standins.aws import World


def code(call: Callable[..., Any], *args: Any, **params: Any) -> str:
    """Return the code of the error that a call is answered with, or "" for yes."""
    try:
        call(*args, **params)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def status(call: Callable[..., Any], **params: Any) -> int:
    """Return the HTTP status of the error that a call is answered with."""
    try:
        call(**params)
    except ClientError as error:
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return 200


def instances(ec2: Any, **params: Any) -> list[Any]:
    """Return what DescribeInstances shows."""
    return [i for r in ec2.describe_instances(**params)["Reservations"] for i in r["Instances"]]


def shown(world: World, name: str) -> Any:
    """Return the truth about one instance."""
    return instances(world.aws.admin("ec2"), InstanceIds=[name])[0]


def state(world: World, name: str) -> str:
    """Return an instance's state."""
    return str(shown(world, name)["State"]["Name"])


def tags(thing: Any) -> dict[str, str]:
    """Return tags as a mapping."""
    return {t["Key"]: t["Value"] for t in thing.get("Tags", thing.get("TagSet", []))}


def until(expected: object, look: Callable[[], object], limit: float = 10.0) -> None:
    """Wait until a look shows what is expected; fail with what it shows instead."""
    deadline = time.monotonic() + limit
    while look() != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert expected == look()


def get(world: World, name: str, limit: float = 0.3) -> str:
    """Return a machine's status line, or `refused`, `silent` (no connection) or `mute` (no answer)."""
    address = (world.aws.instances.lives[name].address, world.aws.machines.port)
    try:
        connection = socket.create_connection(address, timeout=limit)
    except TimeoutError:
        return "silent"
    except ConnectionRefusedError:
        return "refused"
    with connection:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return connection.recv(4096).split(b"\r\n")[0].decode()
        except TimeoutError:
            return "mute"
