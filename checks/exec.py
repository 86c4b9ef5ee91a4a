"""Run a program with the Nagios conventions: its exit code is the status, its first line the text."""

import re
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from supervisor.api import Check, CheckResult, Instance, Probe, check_macros, nagios_result

_SECRET = re.compile(r"AWS_.*|CREDENTIALS_DIRECTORY|NOTIFY_SOCKET|SICKBAY_.*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ExecCheck(Check, kind="exec"):
    """A program on the supervisor's machine that asks the instance: any Nagios plugin will do.

    Exit code 0 is OK, 1 WARNING, 2 CRITICAL; 3, any other code and death by a signal are UNKNOWN. A program that does
    not end within the time limit is killed with everything it started, and counts as silence, as with any other check:
    nearly always it waits for a machine that does not answer, and silence alone never condemns one, whereas UNKNOWN
    would let a dead machine hide behind a plugin that is slow to give up.
    """

    isolated: ClassVar[bool] = True

    command: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            max_length=256,
            examples=[["/usr/lib/nagios/plugins/check_ping", "-H", "{address}", "-w", "100,20%", "-c", "500,60%"]],
        ),
    ]
    """The program's absolute path and its arguments, one item each; there is no shell. `{address}`, `{id}`, `{fleet}`,
    `{zone}`, `{image}` and `{version}` stand for the instance's; `{{` and `}}` for the braces themselves. The program
    must belong to root or to the daemon's user, and nobody else may be able to write to it."""
    env: dict[str, str] = Field(default_factory=dict)
    """Added to the program's environment, which else has PATH, LANG, LC_ALL and TZ only."""

    @field_validator("command")
    @classmethod
    def _can_be_run(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command[0].startswith("/") or "{" in command[0]:
            raise ValueError(f'expected an absolute path first, found "{command[0]}"; there is no shell and no search')
        check_macros(command)
        return command

    @field_validator("env")
    @classmethod
    def _holds_no_secret(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if not _NAME.fullmatch(name) or "\0" in value:
                raise ValueError(f'"{name}" is no environment variable; expected letters, digits and _, and no NUL')
            if _SECRET.fullmatch(name):
                raise ValueError(f"{name} is never given to a program; expected another name")
        return env

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        try:
            argv = instance.filled(self.command)
        except ValueError as error:
            return CheckResult.unknown(str(error))
        return nagios_result(await probe.program.run(argv, self.env), argv[0].rpartition("/")[2])
