"""Run a command on the instance itself, over SSH."""

import re
from typing import Annotated

from pydantic import Field, field_validator

from supervisor.api import (
    CheckResult,
    Instance,
    Probe,
    ProgramAnswer,
    SshCheck,
    check_macros,
    ending,
    first_line,
    has_macro,
    nagios_result,
)

CANT_RUN = frozenset({126, 127})  # what a shell says of a command that it can't run
SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh", "fish"})
_PROGRAM = re.compile(r"-[a-z]*c[a-z]*")


class SshCommandCheck(SshCheck, kind="ssh"):
    """A command on the instance itself, over SSH: a Nagios plugin, or any program whose end is known.

    Without `expect_exit` and `expect_output` the Nagios conventions hold: exit code 0 is OK, 1 WARNING, 2 CRITICAL, and
    perfdata become metrics. With one of them the answer is what was expected, or CRITICAL. Any other exit code of a
    plugin, a command that is not there, death by a signal, a key or a login that is refused and a host key that is not
    known are UNKNOWN: they say nothing about the instance. The connection is kept from one run to the next.

    ```toml
    [[fleet.web.check]]
    name = "load"
    kind = "ssh"
    role = "advisory"
    command = ["/usr/lib/nagios/plugins/check_load", "-w", "8,6,4", "-c", "16,12,8"]
    ```
    """

    command: Annotated[tuple[str, ...], Field(min_length=1, max_length=256)]
    """The program and its arguments, one item each. `{address}`, `{id}`, `{fleet}`, `{zone}`, `{image}` and `{version}`
    stand for the instance's, and reach the program as they are, whatever is in them; `{{` and `}}` for the braces
    themselves."""
    expect_exit: tuple[Annotated[int, Field(ge=0, le=255)], ...] = ()
    """The exit codes that are well; 0, where there is only `expect_output`."""
    expect_output: str = ""
    """A text that must appear within the first 64 KiB of the output."""

    @field_validator("expect_exit", mode="before", json_schema_input_type=int | tuple[int, ...])
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, int) else value

    @field_validator("command")
    @classmethod
    def _can_be_run(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command[0] or command[0].startswith("-") or " " in command[0] or has_macro(command[0]):
            raise ValueError(
                f'expected the program alone first, found "{command[0]}"; its arguments are items of their own'
            )
        check_macros(command)
        for place, item in enumerate(command):
            if has_macro(item) and _PROGRAM.fullmatch(command[place - 1]) and SHELLS & _names(command[:place]):
                raise ValueError(
                    f'"{item}" would be read by a shell, whatever the macro stands for; '
                    f'expected an argument of its own: ["sh", "-c", "echo \\"$1\\"", "sh", "{{version}}"]'
                )
        return command

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        """Ask once."""
        try:
            argv = instance.filled(self.command)
        except ValueError as error:
            return CheckResult.unknown(str(error))
        answer = await self.on_machine(instance, probe, argv)
        name = argv[0].rpartition("/")[2]
        if not self.expect_exit and not self.expect_output:
            return nagios_result(answer, name)
        return self._compared(answer, name)

    def _compared(self, answer: ProgramAnswer, name: str) -> CheckResult:
        expected = self.expect_exit or (0,)
        text = first_line(answer.stdout) or first_line(answer.stderr)
        if answer.code not in expected:
            end = ending(answer.code, f"expected {' or '.join(map(str, expected))}")
            told = f"{name} {end}{text and ': '}{text}"
            if answer.code < 0 or answer.code in CANT_RUN:
                return CheckResult.unknown(told)
            return CheckResult.critical(told, seconds=answer.seconds)
        if self.expect_output.encode() not in answer.stdout:
            return CheckResult.critical(f"{name} did not say {self.expect_output!r}", seconds=answer.seconds)
        return CheckResult.ok(text or f"{name} ended well", seconds=answer.seconds)


def _names(command: tuple[str, ...]) -> set[str]:
    return {item.rpartition("/")[2] for item in command}
