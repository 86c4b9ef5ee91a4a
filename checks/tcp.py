"""The check `tcp`."""

from typing import Annotated

from pydantic import Field

from supervisor.api import Check, CheckResult, Instance, Probe


class TcpCheck(Check, kind="tcp"):
    """Connect to a port of the instance; send something and expect something back, if asked to."""

    port: Annotated[int, Field(ge=1, le=65535)]
    """The port at the instance's address."""
    send: str = ""
    """What to send once connected."""
    expect: str = ""
    """What must come back, within the first 64 KiB."""

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        answer = await probe.tcp.connect(
            instance.address, self.port, send=self.send.encode(), until=self.expect.encode()
        )
        if self.expect and self.expect.encode() not in answer.received:
            return CheckResult.critical(f"connected, but {self.expect!r} did not come back", seconds=answer.seconds)
        return CheckResult.ok(f"port {self.port} open", seconds=answer.seconds)
