"""Calls AWS, and sorts every outcome: a yes, a definite no, "later", or doubt.

Blocking: used from threads. Reads may be retried by botocore, mutations never: the journal replays them.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from supervisor.errors import ProviderError

Answer: TypeAlias = dict[str, Any]  # Any: what botocore parsed


class AwsNo(Exception):
    """AWS said no, and nothing was changed. `code` is AWS's word for it."""

    def __init__(self, code: str, message: str) -> None:
        """Say both."""
        super().__init__(f"{code}: {message}")
        self.code = code


class AwsLater(Exception):
    """Nothing was changed: too many calls. Come back later, and slow down."""


class AwsDoubt(Exception):
    """Nobody can say whether anything was changed."""


class Api(Protocol):
    """One account in one region. Services are "ec2", "elbv2" and "autoscaling"; actions are AWS's names."""

    def read(self, service: str, action: str, **params: object) -> Answer:
        """Ask one page. Raises `ProviderError` for everything but a whole answer; its `code` where AWS gave one."""
        ...

    def pages(self, service: str, action: str, key: str, **params: object) -> list[Any]:  # Any: as above
        """Ask every page, and return all items under `key`. Raises `ProviderError`: all or nothing."""
        ...

    def change(self, service: str, action: str, **params: object) -> Answer:
        """Change something, once. Raises `AwsNo`, `AwsLater`, `AwsDoubt`; never anything else."""
        ...


class ReadError(ProviderError):
    """A read that failed. `code` is AWS's word for it, '' when none came."""

    def __init__(self, sentence: str, code: str = "") -> None:
        """Keep the code."""
        super().__init__(sentence)
        self.code = code
