"""The check `tcp`."""

from typing import Annotated

from pydantic import Field

from supervisor.api import Answer, AskingCheck, CheckResult, TcpAnswer, TcpQuestion


class TcpCheck(AskingCheck, kind="tcp"):
    """Connect to a port of the instance; send something and expect something back, if asked to."""

    port: Annotated[int, Field(ge=1, le=65535, examples=[5432])]
    """The port at the instance's address."""
    send: str = ""
    """What to send once connected."""
    expect: str = ""
    """What must come back, within the first 64 KiB."""

    def question(self) -> TcpQuestion:
        """Connect, and have the conversation if there is one."""
        return TcpQuestion(self.port, self.send.encode(), self.expect.encode(), timed=False)

    def judge(self, answer: Answer) -> CheckResult:
        """Look for what was expected."""
        if not isinstance(answer, TcpAnswer):
            raise TypeError(f"{type(answer).__name__} is no answer to a TCP connection")
        if self.expect and self.expect.encode() not in answer.received:
            return CheckResult.critical(f"connected, but {self.expect!r} did not come back", seconds=answer.seconds)
        return CheckResult.ok(f"port {self.port} open", seconds=answer.seconds)
