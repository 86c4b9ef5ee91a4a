"""The checks that look inside a machine: what each answer of a command, and each heartbeat, means; and what is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from supervisor.api import (
    BeatReport,
    Check,
    CheckResult,
    Instance,
    NoAnswer,
    PassiveCheck,
    ProgramAnswer,
    Refusal,
    Report,
    SshLogin,
    Status,
    Unrunnable,
)
from supervisor.config import load
from supervisor.errors import ConfigError
from supervisor.plugins import discover
from supervisor.testing import FakeProbe, instance, program_answer, run

CATALOGUE = discover()


def made(kind: str, **options: object) -> Check:
    """Make a check as a check host does."""
    return CATALOGUE.checks[kind].cls.model_validate(options)


COMMAND: dict[str, tuple[dict[str, object], ProgramAnswer | Refusal | NoAnswer | Unrunnable, tuple[Status, str]]] = {
    "a plugin that is well": ({}, program_answer(0, b"fine | a=1"), (Status.OK, "fine")),
    "a plugin that warns": ({}, program_answer(1, b"so so"), (Status.WARNING, "so so")),
    "a plugin that is critical": ({}, program_answer(2, b"down"), (Status.CRITICAL, "down")),
    "no such plugin": ({}, program_answer(127, stderr=b"sh: it: not found"), (Status.UNKNOWN, "it ended with exit code 127, expected 0 to 3: sh: it: not found")),
    "the expected code": ({"expect_exit": 4}, program_answer(4, b"hello"), (Status.OK, "hello")),
    "one of the expected": ({"expect_exit": [0, 4]}, program_answer(4), (Status.OK, "it ended well")),
    "another code": ({"expect_exit": [0, 4]}, program_answer(1, stderr=b"why"), (Status.CRITICAL, "it ended with exit code 1, expected 0 or 4: why")),
    "a code of the shell's own": ({"expect_exit": 0}, program_answer(126), (Status.UNKNOWN, "it ended with exit code 126, expected 0")),
    "a signal": ({"expect_exit": 0}, program_answer(-9), (Status.UNKNOWN, "it was killed by SIGKILL")),
    "the expected output": ({"expect_output": "up"}, program_answer(0, b"it is up"), (Status.OK, "it is up")),
    "another output": ({"expect_output": "up"}, program_answer(0, b"down"), (Status.CRITICAL, "it did not say 'up'")),
    "the output of a failure": ({"expect_output": "up"}, program_answer(1, b"up"), (Status.CRITICAL, "it ended with exit code 1, expected 0: up")),
    "a refused connection": ({}, Refusal("connection refused"), (Status.CRITICAL, "connection refused")),
    "silence": ({}, NoAnswer("no route to host"), (Status.CRITICAL, "no answer: no route to host")),
    "a host key that is not known": ({}, Unrunnable("a strange host key"), (Status.UNKNOWN, "a strange host key")),
}  # fmt: skip


@pytest.mark.parametrize("row", COMMAND)
def test_the_end_of_a_command_is_judged(row: str) -> None:
    """By the Nagios conventions, or by what was expected."""
    options, answer, expected = COMMAND[row]
    result = run(made("ssh", command=["/bin/it"], **options), instance(), FakeProbe(ssh=[answer]))

    assert expected == (result.status, result.text)
    assert isinstance(answer, NoAnswer) == result.silent


def test_a_command_is_asked_of_the_machine_itself() -> None:
    """With its own words for the macros, as the account that the table names."""
    probe = FakeProbe(ssh=[program_answer()])
    check = made(
        "ssh", command=["it", "{id}", "--v={version}", "{{}}"], user="u", port=2, key_file="/k", known_hosts="/h"
    )
    run(check, instance("192.0.2.7", version="; rm -rf /"), probe)
    any_key = FakeProbe(ssh=[program_answer()])
    run(made("ssh", command=["it"], host_keys="any"), instance(), any_key)

    asked = probe.ssh.asked[0]
    assert ("192.0.2.7", ("it", "i-1", "--v=; rm -rf /", "{}")) == (asked.host, asked.argv)
    assert SshLogin("u", "/k", "/h", 2) == asked.login
    assert SshLogin("sickbay", "/etc/sickbay/ssh_key", "", 22) == any_key.ssh.asked[0].login


@pytest.mark.parametrize(("value", "why"), [("-x", "would take for an option"), ("a\0b", "holds a NUL character")])
def test_a_value_that_a_program_would_misread_is_not_sent(value: str, why: str) -> None:
    """A version is given by whoever may tag a machine."""
    probe = FakeProbe()
    result = run(made("ssh", command=["it", "{version}"]), instance(version=value), probe)

    assert Status.UNKNOWN is result.status
    assert why in result.text
    assert [] == probe.ssh.asked


# What `systemctl show` of systemd 252 printed on Debian 12, recorded from a manager with five such units.
RECORDED = """\
Result=success
NRestarts=0
LoadState=loaded
ActiveState=active
SubState=running

Result=exit-code
NRestarts=0
LoadState=loaded
ActiveState=failed
SubState=failed

Result=exit-code
NRestarts=0
LoadState=loaded
ActiveState=activating
SubState=auto-restart

Result=success
LoadState=loaded
ActiveState=active
SubState=waiting

Result=success
NRestarts=0
LoadState=not-found
ActiveState=inactive
SubState=dead
"""
LOADED = "Result={3}\nNRestarts={2}\nLoadState=loaded\nActiveState={0}\nSubState={1}\n"
RUNNING = LOADED.format("active", "running", 0, "success")
UNIT: dict[str, tuple[dict[str, object], str, CheckResult]] = {
    "active": ({}, RUNNING, CheckResult.ok("a.service is active", metrics={"restarts:a.service": 0})),
    "reloading": ({}, LOADED.format("reloading", "reload", 0, "success"), CheckResult.ok("a.service is reloading", metrics={"restarts:a.service": 0})),
    "failed": ({}, LOADED.format("failed", "failed", 3, "oom-kill"), CheckResult.critical("a.service is failed (oom-kill), expected active", metrics={"restarts:a.service": 3})),
    "stopped": ({}, LOADED.format("inactive", "dead", 0, "success"), CheckResult.critical("a.service is inactive, expected active", metrics={"restarts:a.service": 0})),
    "starting": ({}, LOADED.format("activating", "start", 0, "success"), CheckResult.warning("a.service is activating, expected active", metrics={"restarts:a.service": 0})),
    "ends again and again": ({}, LOADED.format("activating", "auto-restart", 41, "exit-code"), CheckResult.critical("a.service ended and waits to be started again (exit-code)", metrics={"restarts:a.service": 41})),
    "without restarts": ({"units": ["a.timer"]}, "ActiveState=active\nResult=success\nLoadState=loaded\nSubState=waiting\n", CheckResult.ok("a.timer is active")),
    "not there": ({}, "NRestarts=0\nResult=success\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n", CheckResult.unknown("a.service is not known on this machine")),
    "wanted so": ({"states": ["active", "inactive"]}, LOADED.format("inactive", "dead", 0, "success"), CheckResult.ok("a.service is inactive", metrics={"restarts:a.service": 0})),
    "bad and unseen": ({"units": ["a.service", "b.service"]}, LOADED.format("failed", "failed", 0, "signal") + "\nLoadState=not-found\nActiveState=inactive\n", CheckResult.critical("a.service is failed (signal), expected active", metrics={"restarts:a.service": 0})),
    "too few": ({"units": ["a.service", "b.service"]}, RUNNING, CheckResult.unknown("systemctl: ended with exit code 0, and told nothing that can be read")),
    "nothing": ({}, "", CheckResult.unknown("systemctl: ended with exit code 0, and told nothing that can be read")),
}  # fmt: skip


@pytest.mark.parametrize("row", UNIT)
def test_a_unit_is_judged_by_its_state(row: str) -> None:
    """What systemd prints, in any order of its lines."""
    options, printed, expected = UNIT[row]
    check = made("systemd_unit", **{"units": ["a.service"], **options})
    probe = FakeProbe(ssh=[program_answer(0, printed)])

    assert expected == run(check, instance(), probe)
    assert probe.ssh.asked[0].argv[:4] == ("env", "LC_ALL=C", "systemctl", "show")


def test_what_a_real_systemd_printed_is_understood() -> None:
    """Unit by unit: one that runs, one that failed, one that keeps ending, a timer, and one that is none."""
    units = ["good.service", "bad.service", "again.service", "beat.timer", "none.service"]
    blocks = RECORDED.split("\n\n")
    judged = [
        run(made("systemd_unit", units=[unit]), instance(), FakeProbe(ssh=[program_answer(0, block)]))
        for unit, block in zip(units, blocks, strict=True)
    ]
    together = run(made("systemd_unit", units=units), instance(), FakeProbe(ssh=[program_answer(0, RECORDED)]))

    assert [
        (Status.OK, "good.service is active"),
        (Status.CRITICAL, "bad.service is failed (exit-code), expected active"),
        (Status.CRITICAL, "again.service ended and waits to be started again (exit-code)"),
        (Status.OK, "beat.timer is active"),
        (Status.UNKNOWN, "none.service is not known on this machine"),
    ] == [(one.status, one.text) for one in judged]
    assert f"{judged[1].text}; {judged[2].text}" == together.text
    assert {f"restarts:{unit}.service" for unit in ("good", "bad", "again")} == set(together.metrics)


def test_a_machine_without_systemd_is_not_blamed() -> None:
    """In its own words."""
    bus = "Failed to connect to bus: No such file or directory\n"
    result = run(made("systemd_unit", units=["a.service"]), instance(), FakeProbe(ssh=[program_answer(1, stderr=bus)]))

    assert CheckResult.unknown("systemctl: Failed to connect to bus: No such file or directory") == result


ROOM = "Filesystem         1-blocks       Used Available Capacity Mounted on\n"
NODES = "Filesystem     Inodes IUsed  IFree IUse% Mounted on\n"


def df(room: str, inodes: str = "/dev/vda1 1000 100 900 10% /") -> str:
    """Return what the check's script prints for one path."""
    return f"{ROOM}{room}\n\n{NODES}{inodes}\n\n"


GIB = 1024**3
DISK: dict[str, tuple[dict[str, object], ProgramAnswer, CheckResult]] = {
    "room": ({}, program_answer(0, df(f"/dev/vda1 {11 * GIB} {5 * GIB} {5 * GIB} 50% /")), CheckResult.ok("/: 50% free (5 GiB)", metrics={"disk_free_ratio:/": 0.5, "disk_free_bytes:/": 5 * GIB, "inodes_free_ratio:/": 0.9})),
    "little room": ({}, program_answer(0, df("/dev/vda1 110 95 5 95% /")), CheckResult.warning("/: 5% free (5 B), expected at least 10%", metrics={"disk_free_ratio:/": 0.05, "disk_free_bytes:/": 5, "inodes_free_ratio:/": 0.9})),
    "no room but root's": ({}, program_answer(0, df("/dev/vda1 110 105 -5 105% /")), CheckResult.critical("/: 0% free (0 B), expected at least 3%", metrics={"disk_free_ratio:/": 0, "disk_free_bytes:/": 0, "inodes_free_ratio:/": 0.9})),
    "too few bytes": ({"warn": "50%", "critical": "10KiB"}, program_answer(0, df("/dev/vda1 4096 2048 2048 50% /")), CheckResult.critical("/: 50% free (2 KiB), expected at least 10KiB", metrics={"disk_free_ratio:/": 0.5, "disk_free_bytes:/": 2048, "inodes_free_ratio:/": 0.9})),
    "no inodes": ({}, program_answer(0, df("/dev/vda1 100 50 50 50% /", "/dev/vda1 1000 1000 0 100% /")), CheckResult.critical("/: 0% of the inodes free, expected at least 3%", metrics={"disk_free_ratio:/": 0.5, "disk_free_bytes:/": 50, "inodes_free_ratio:/": 0})),
    "no inodes of its own": ({}, program_answer(0, df("/dev/vda1 100 50 50 50% /", "/dev/vda1 0 0 0 - /")), CheckResult.ok("/: 50% free (50 B)", metrics={"disk_free_ratio:/": 0.5, "disk_free_bytes:/": 50})),
    "names with spaces": ({}, program_answer(0, df("//nas/my 12 share 34 100 50 50 50% /my 1 2")), CheckResult.ok("/: 50% free (50 B)", metrics={"disk_free_ratio:/": 0.5, "disk_free_bytes:/": 50, "inodes_free_ratio:/": 0.9})),
    "gone": ({}, program_answer(0, "\n\n", stderr="df: /: Stale file handle\n"), CheckResult.unknown("df: /: Stale file handle")),
    "one full, one gone": ({"paths": ["/a", "/b"]}, program_answer(0, df("/dev/vda1 100 100 0 100% /a") + "\n\n", stderr="df: /b: No such file or directory\n"), CheckResult.critical("/a: 0% free (0 B), expected at least 3%", metrics={"disk_free_ratio:/a": 0, "disk_free_bytes:/a": 0, "inodes_free_ratio:/a": 0.9})),
    "no df": ({}, program_answer(127, stderr="sh: df: not found\n"), CheckResult.unknown("df: sh: df: not found")),
    "nothing": ({}, program_answer(0), CheckResult.unknown("df: ended with exit code 0, and told nothing that can be read")),
}  # fmt: skip


@pytest.mark.parametrize("row", DISK)
def test_a_disk_is_judged_by_what_is_free(row: str) -> None:
    """A share or bytes, inodes too; what is left for root counts for nothing."""
    options, answer, expected = DISK[row]

    assert expected == run(made("disk", **options), instance(), FakeProbe(ssh=[answer]))


def beat(**told: object) -> Report:
    """Return a report with a fresh heartbeat."""
    return Report(beat=BeatReport(1.0, **{"fresh": True, **told}))  # type: ignore[arg-type]  # fields by name


UNITS_TOLD = {"unit:a.service": "active", "unit:b.service": "failed"}
HEARD: dict[str, tuple[str, dict[str, object], Report, CheckResult]] = {
    "a unit": ("systemd_unit", {"units": ["a.service"]}, beat(facts=UNITS_TOLD), CheckResult.ok("a.service is active")),
    "a failed unit": ("systemd_unit", {"units": ["a.service", "b.service"]}, beat(facts=UNITS_TOLD), CheckResult.critical("b.service is failed, expected active")),
    "a unit that is not told": ("systemd_unit", {"units": ["a.service", "c.service"]}, beat(facts=UNITS_TOLD), CheckResult.unknown("its heartbeat tells nothing of c.service")),
    "a disk": ("disk", {}, beat(metrics={"disk_free_ratio:/": 0.05}), CheckResult.warning("/: 5% free, expected at least 10%", metrics={"disk_free_ratio:/": 0.05})),
    "inodes": ("disk", {}, beat(metrics={"disk_free_ratio:/": 0.5, "inodes_free_ratio:/": 0.01}), CheckResult.critical("/: 1% of the inodes free, expected at least 3%", metrics={"disk_free_ratio:/": 0.5, "inodes_free_ratio:/": 0.01})),
    "a disk that is not told": ("disk", {"paths": ["/", "/var"]}, beat(metrics={"disk_free_ratio:/": 0.5}), CheckResult(Status.UNKNOWN, "its heartbeat tells nothing of /var", metrics={"disk_free_ratio:/": 0.5})),
    "no heartbeat yet": ("disk", {}, Report(), CheckResult.unknown("it has sent no heartbeat yet")),
    "a stale one": ("disk", {}, Report(beat=BeatReport(300.0, fresh=False)), CheckResult.unknown("its last heartbeat is 5m old")),
    "a broker that is gone": ("disk", {}, Report(beat=BeatReport(1.0, fresh=True), deaf="the broker is gone"), CheckResult.unknown("heartbeats can't be heard: the broker is gone")),
}  # fmt: skip


@pytest.mark.parametrize("row", HEARD)
def test_a_heartbeat_tells_as_well(row: str) -> None:
    """And nobody is asked: what it does not tell accuses nobody."""
    kind, options, report, expected = HEARD[row]
    check = made(kind, via="heartbeat", **options)
    assert isinstance(check, PassiveCheck)

    assert check.passive
    assert expected == check.judge(instance(), report)
    assert Status.UNKNOWN is run(check, instance(), FakeProbe()).status


CONFIG = """\
[supervisor]
state = "sqlite:///tmp/sickbay-test/state.db"

[fleet.web]
provider = "local"
desired = 3
version = "1.0.0"

[fleet.web.local]
image = "builtin:web"

[[fleet.web.check]]
kind = "{kind}"
"""

MISTAKES = {
    "no command": ("ssh", "", "command — this key is missing"),
    "a line for a shell": ("ssh", 'command = ["df -h"]', 'expected the program alone first, found "df -h"; its arguments are items of their own'),
    "a program by macro": ("ssh", 'command = ["{version}"]', "expected the program alone first"),
    "an unknown macro": ("ssh", 'command = ["it", "{host}"]', '"{host}" is not known; expected one of {address}'),
    "a macro in a shell's program": ("ssh", 'command = ["bash", "-ec", "echo {version}"]', '"echo {version}" would be read by a shell, whatever the macro stands for; expected an argument of its own'),
    "the same behind sudo": ("ssh", 'command = ["sudo", "/bin/sh", "-c", "echo {version}"]', "would be read by a shell"),
    "a code that is none": ("ssh", 'command = ["it"]\nexpect_exit = 256', "expected at most 255"),
    "no unit": ("systemd_unit", "units = []", "at least 1 item"),
    "a unit without a type": ("systemd_unit", 'units = ["nginx"]', "units"),
    "a unit that is an option": ("systemd_unit", 'units = ["-H.service"]', "units"),
    "a state that is none": ("systemd_unit", 'units = ["a.service"]\nstates = ["running"]', "'active'"),
    "a relative path": ("disk", 'paths = ["var"]', "paths"),
    "a share that is none": ("disk", 'warn = "200%"', "warn"),
    "bytes by heartbeat": ("disk", 'via = "heartbeat"\nwarn = "5GiB"', 'expected a share such as "10%"; a heartbeat does not tell bytes'),
    "a relative key": ("disk", 'key_file = "key"', "key_file"),
    "an account that is an option": ("disk", 'user = "-oProxyCommand=x"', "user"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_remedy(name: str, tmp_path: Path) -> None:
    """Before anybody is asked."""
    kind, keys, sentence = MISTAKES[name]
    (tmp_path / "config.toml").write_text(CONFIG.format(kind=kind) + keys)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.toml", CATALOGUE)

    assert sentence in str(caught.value)
    assert "[fleet.web.check]" in str(caught.value)


def test_who_asks_over_ssh_needs_asyncssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence at the start; whoever reads heartbeats does not need it."""
    find = importlib.util.find_spec
    monkeypatch.setattr("supervisor.api.inside.find_spec", lambda name: None if name == "asyncssh" else find(name))
    (tmp_path / "config.toml").write_text(CONFIG.format(kind="disk"))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "config.toml", CATALOGUE)
    (tmp_path / "config.toml").write_text(CONFIG.format(kind="disk") + 'via = "heartbeat"\n')

    assert "asyncssh is not installed, and nobody can be asked over SSH; run `pip install 'sickbay[ssh]'`" in str(
        caught.value
    )
    assert load(tmp_path / "config.toml", CATALOGUE).fleets["web"].checks[0].passive


def test_over_ssh_it_runs_in_the_plugin_host(tmp_path: Path) -> None:
    """The prober holds no key, and never stands still for arithmetic; by heartbeat it runs in no host at all."""
    text = (
        CONFIG.format(kind="disk")
        + '[[fleet.web.check]]\nkind = "systemd_unit"\nunits = ["a.service"]\nvia = "heartbeat"\n'
    )
    (tmp_path / "config.toml").write_text(text)
    checks = load(tmp_path / "config.toml", CATALOGUE).fleets["web"].checks

    assert {"disk": (False, False), "systemd_unit": (False, True)} == {
        c.kind: (c.builtin, c.passive is not None) for c in checks
    }


def test_the_worst_of_several_counts() -> None:
    """Known to be bad is worse than not seen."""
    ok, unknown = CheckResult.ok("fine", metrics={"a": 1}), CheckResult.unknown("unseen")

    assert CheckResult.unknown("unseen").text == CheckResult.worst([ok, unknown]).text
    assert CheckResult(Status.CRITICAL, "bad", metrics={"a": 1}) == CheckResult.worst(
        [unknown, ok, CheckResult.critical("bad")]
    )
    assert "fine; well" == CheckResult.worst([ok, CheckResult.ok("well")]).text


def test_instances_are_told_apart_by_their_words() -> None:
    """`filled` knows each of the six."""
    one = Instance("i", "f", "a", "z", "m", "v")

    assert ["aifzmv"] == one.filled(["{address}{id}{fleet}{zone}{image}{version}"])
