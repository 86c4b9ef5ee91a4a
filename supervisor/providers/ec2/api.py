"""Calls AWS, and sorts every outcome: a yes, a definite no, "later", or doubt.

Blocking: used from threads. Reads may be retried by botocore, mutations never: the journal replays them.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol, TypeAlias

from supervisor.errors import ProviderError
from supervisor.providers.ec2.buckets import PATIENCE, Buckets

Answer: TypeAlias = dict[str, Any]  # Any: what botocore parsed


class AwsNo(Exception):
    """AWS said no, and nothing was changed. `code` is AWS's word for it.

    With `DryRun` the code `DryRunOperation` is a yes: it would have been allowed.
    """

    def __init__(self, code: str, message: str) -> None:
        """Say both."""
        super().__init__(f"{code}: {message}")
        self.code = code


class AwsLater(Exception):
    """Nothing was changed: too many calls, or no credentials now. Come back later, and slow down."""


class AwsDoubt(Exception):
    """Nobody can say whether anything was changed."""


class ReadError(ProviderError):
    """A read that failed. `code` is AWS's word for it, '' when none came.

    `is_no`: AWS understood, and refused; another try is of no use before a person has changed something.
    """

    def __init__(self, sentence: str, code: str = "", *, is_no: bool = False) -> None:
        """Keep the code."""
        super().__init__(sentence)
        self.code = code
        self.is_no = is_no


class Api(Protocol):
    """One account in one region. Services are "ec2", "elbv2" and "autoscaling"; actions are AWS's names."""

    def read(self, service: str, action: str, **params: object) -> Answer:
        """Ask one page. Raises `ReadError` for everything but a whole answer; its `code` where AWS gave one."""
        ...

    def pages(self, service: str, action: str, key: str, **params: object) -> list[Any]:  # Any: as above
        """Ask every page, and return all items under `key`. Raises `ReadError`: all or nothing."""
        ...

    def change(self, service: str, action: str, **params: object) -> Answer:
        """Change something, once. Raises `AwsNo`, `AwsLater`, `AwsDoubt`; never anything else."""
        ...


THROTTLING = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "Throttled",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequests",
        "TooManyRequestsException",
        "EC2ThrottledException",
        "BandwidthLimitExceeded",
        "SlowDown",
    }
)
"""Nothing was done: too many calls. The status is 400, 429 or 503, so the code alone decides."""

DEFINITE = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientAddressCapacity",
        "InsufficientVolumeCapacity",
        "InsufficientCapacity",
        "UnfulfillableCapacity",
    }
)
"""AWS's own lack of capacity: sent with HTTP 500 or 503, and all the same a definite no."""

DOUBTFUL = frozenset({"RequestTimeout", "RequestTimeoutException", "InternalError", "InternalFailure", "Unavailable"})
"""Whatever status they come with, these do not say that nothing happened."""

CLOCK = frozenset({"RequestExpired", "RequestTimeTooSkewed"})

ANSWERS = {
    "RunInstances": "Instances",
    "CreateSnapshots": "Snapshots",
    "TerminateInstances": "TerminatingInstances",
    "StopInstances": "StoppingInstances",
    "StartInstances": "StartingInstances",
}
"""What a yes must hold. Every yes has besides a request id in its body, which a web page in between never has."""

MOST_CONNECTIONS = 16


class NoTurn(Exception):
    """Not sent: our own limits would have kept the call waiting for too long."""

    def __init__(self) -> None:
        """Say so, in the shape of AWS's own refusals."""
        super().__init__(f"not sent: its turn would not have come within {PATIENCE:.0f}s; we keep below AWS's limits")
        self.response = {"Error": {"Code": "RequestThrottled"}}


class BotoApi:
    """The `Api` over boto3. Clients are made when first needed, one at a time: making them is slow and not thread-safe.

    Credentials are boto3's business: the profile's, or its default chain; so is `AWS_ENDPOINT_URL`. `patience` is how
    many seconds an answer may take.
    """

    def __init__(
        self, region: str, profile: str = "", *, patience: float = 20.0, buckets: Buckets | None = None
    ) -> None:
        """Speak for a region. Nothing is asked or read yet. Without `buckets`, they are AWS's halved."""
        self.region = region
        self.profile = profile
        self.changes = 0
        """How many mutations have ended, well or not: what was read before the last one may be wrong by now."""
        self._patience = patience
        self._buckets = buckets or Buckets()
        self._lock = threading.Lock()
        self._session: Any = None  # Any: boto3 has no types
        self._clients: dict[tuple[str, bool], Any] = {}  # Any: as above

    def read(self, service: str, action: str, **params: object) -> Answer:
        """Ask one page. Raises `ReadError`, whatever happens."""
        what = f"{service} {action} in {self.region}"
        try:
            answer = self._call(service, action, params, mutates=False)
        except Exception as error:
            found = sorted_out(error, self.profile)
            code = found.code if isinstance(found, AwsNo) else _code(error)
            raise ReadError(f"{what}: {found}", code, is_no=isinstance(found, AwsNo)) from error
        if not is_whole(action, answer):
            raise ReadError(f"{what}: {NOT_FROM_AWS}")
        return answer

    def pages(self, service: str, action: str, key: str, **params: object) -> list[Any]:  # Any: as above
        """Ask every page, and return all items under `key`. Raises `ReadError`: all or nothing."""
        asked, given = ("Marker", "NextMarker") if service == "elbv2" else ("NextToken", "NextToken")
        items: list[Any] = []  # Any: as above
        token = ""
        while True:
            answer = self.read(service, action, **params, **({asked: token} if token else {}))
            if key not in answer:
                raise ReadError(f"{service} {action} in {self.region}: the answer has no {key}, so it is not whole")
            items += answer[key]
            before, token = token, str(answer.get(given) or "")
            if not token:
                return items
            if token == before:
                raise ReadError(f"{service} {action} in {self.region}: AWS repeats one page for ever")

    def change(self, service: str, action: str, **params: object) -> Answer:
        """Change something, once. Raises `AwsNo`, `AwsLater`, `AwsDoubt`; never anything else."""
        try:
            answer = self._call(service, action, params, mutates=True)
        except Exception as error:
            raise sorted_out(error, self.profile) from error
        finally:
            with self._lock:
                self.changes += 1
        if not is_whole(action, answer):
            raise AwsDoubt(NOT_FROM_AWS)
        return answer

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def _call(self, service: str, action: str, params: dict[str, object], *, mutates: bool) -> Answer:
        from botocore import xform_name  # noqa: PLC0415  # boto3 is an extra

        call = getattr(self._client(service, mutates=mutates), xform_name(action))
        if not self._buckets.wait(service, action, params):
            raise NoTurn
        try:
            answer: Answer = call(**params)
        except Exception as error:
            if _code(error) in THROTTLING:
                self._buckets.slow(service, action, params)
            raise
        if answer.get("ResponseMetadata", {}).get("RetryAttempts"):
            self._buckets.slow(service, action, params)  # throttled or broken: botocore does not say which
        return answer

    def _client(self, service: str, *, mutates: bool) -> Any:  # Any: boto3 makes its clients at run time
        with self._lock:
            if (service, mutates) not in self._clients:
                self._clients[service, mutates] = self._made(service, mutates=mutates)
            return self._clients[service, mutates]

    def _made(self, service: str, *, mutates: bool) -> Any:  # Any: as above
        import boto3  # noqa: PLC0415  # an extra
        from botocore.config import Config  # noqa: PLC0415  # as above

        if self._session is None:
            self._session = boto3.session.Session(profile_name=self.profile or None, region_name=self.region)
        config = Config(
            connect_timeout=3,
            read_timeout=self._patience,
            # A mutation is sent once: a second try would hide that nobody knows what became of the first.
            retries={"mode": "standard", "total_max_attempts": 1 if mutates else 3},
            tcp_keepalive=True,
            max_pool_connections=MOST_CONNECTIONS,
            user_agent_extra="sickbay",
        )
        return self._session.client(service, config=config)


NOT_FROM_AWS = "the answer is not AWS's: something in between answered for it"


def is_whole(action: str, answer: Answer) -> bool:
    """Whether an answer that botocore took for a yes is one.

    A well-formed web page with status 200 raises nothing there: it parses to an answer in which all is missing.
    """
    if not answer.get("ResponseMetadata", {}).get("RequestId"):
        return False
    return action not in ANSWERS or ANSWERS[action] in answer


def sorted_out(error: Exception, profile: str = "") -> AwsNo | AwsLater | AwsDoubt:
    """Say what an exception of a call means for what it was to change. What nobody foresaw is doubt."""
    from botocore import exceptions as boto  # noqa: PLC0415  # boto3 is an extra

    if isinstance(error, boto.ClientError):
        return _refusal(error.response)
    if isinstance(error, NoTurn):
        return AwsLater(str(error))
    if isinstance(error, boto.ProfileNotFound):
        return AwsNo(
            "ProfileNotFound", f'profile = "{profile}" is not in the AWS configuration files; name one that is'
        )
    if isinstance(error, boto.ParamValidationError):  # botocore itself refused to send it
        return AwsNo("ParamValidation", " ".join(str(error).split()))
    if isinstance(
        error,
        boto.NoCredentialsError
        | boto.PartialCredentialsError
        | boto.CredentialRetrievalError
        | boto.TokenRetrievalError,
    ):
        # Nothing can be signed, so nothing was sent. An instance's role can come back by itself: later, not no.
        where = f'profile "{profile}"' if profile else "boto3's default chain (environment, files, the instance's role)"
        return AwsLater(f"no credentials for AWS in {where}: {error}; provide them there")
    # Also an unreachable address: whether a byte was sent is not worth a second machine.
    return AwsDoubt(" ".join(f"{type(error).__name__}: {error}".split())[:500])


def _refusal(response: Answer) -> AwsNo | AwsLater | AwsDoubt:
    code, message = str(response["Error"].get("Code", "")), str(response["Error"].get("Message", ""))
    about = response.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode", 0)
    if code in THROTTLING:
        return AwsLater(f"{code}: {message}")
    # An error without a request id was not made by AWS, but by a proxy that may have handed the request on.
    is_aws = bool(code and about.get("RequestId"))
    if not is_aws or code in DOUBTFUL or not (code in DEFINITE or 400 <= status < 500):
        return AwsDoubt(f"{code or status}: {message}")
    if code in CLOCK or message.startswith(("Signature expired", "Signature not yet current")):
        return AwsNo(code, f"this machine's clock differs from AWS's by minutes; set it ({message})")
    return AwsNo(code, message)


def _code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}  # botocore's connection errors have one that is None
    return str(response.get("Error", {}).get("Code", ""))
