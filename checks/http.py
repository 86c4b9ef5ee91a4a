"""The check `http`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from supervisor.api import Answer, AskingCheck, CheckResult, HttpAnswer, HttpQuestion

Code = Annotated[int, Field(ge=100, le=599)]
Class = Literal["1xx", "2xx", "3xx", "4xx", "5xx"]


class HttpCheck(AskingCheck, kind="http"):
    """GET a URL on the instance, and compare the status code, and the body if asked to.

    The request goes to the instance's own address; redirects are answers, and are not followed.
    """

    port: Annotated[int, Field(ge=1, le=65535)] = 80
    """The port at the instance's address."""
    path: Annotated[str, Field(pattern=r"^/[!-~]*$", max_length=2048)] = "/healthz"
    """What to ask for."""
    scheme: Literal["http", "https"] = "http"
    """With https, `verify` says whether the certificate counts."""
    method: Literal["GET", "HEAD"] = "GET"
    """HEAD asks for no body."""
    expect: tuple[Code | Class, ...] = (200,)
    """The status codes that are well: 200, or [200, 204], or "2xx"."""
    body: str = ""
    """A text that must appear within the first 64 KiB of the body; "" for any."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with the request; `Host` here overrides the address."""
    verify: bool = True
    """Whether an https certificate must be good."""
    connection: Literal["new", "keep"] = "new"
    """`keep` leaves the connection open between two runs: cheaper, but it does not show whether new ones are accepted."""

    @field_validator("expect", mode="before", json_schema_input_type=Code | Class | tuple[Code | Class, ...])
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, int | str) else value

    def question(self) -> HttpQuestion:
        """Ask for the page; where only the status counts, for no more."""
        return HttpQuestion(
            port=self.port,
            path=self.path,
            method=self.method,
            headers=self.headers,
            tls=self.scheme == "https",
            verify=self.verify,
            whole=bool(self.body),
            keep=self.connection == "keep",
            timed=False,
        )

    def judge(self, answer: Answer) -> CheckResult:
        """Compare."""
        if not isinstance(answer, HttpAnswer):
            raise TypeError(f"{type(answer).__name__} is no answer to an HTTP request")
        if answer.status not in self.expect and f"{answer.status // 100}xx" not in self.expect:
            expected = " or ".join(str(code) for code in self.expect)
            return CheckResult.critical(f"HTTP {answer.status}, expected {expected}", seconds=answer.seconds)
        if self.body and self.body.encode() not in answer.body:
            return CheckResult.critical(
                f"HTTP {answer.status}, but the body lacks {self.body!r}", seconds=answer.seconds
            )
        return CheckResult.ok(f"HTTP {answer.status}", seconds=answer.seconds)
