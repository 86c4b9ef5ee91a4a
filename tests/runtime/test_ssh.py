"""Commands on a machine over SSH, asked of Debian's own server: what comes back, what is kept, and what is refused."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from supervisor.api import Check, Instance, Refusal, Status, Unrunnable
from supervisor.plugins import discover
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import Ran, run_check
from supervisor.runtime.ssh import Ssh
from tests.sshd import Sshd, running_sshd
from tests.watching import observe, spec, watching_hosts

pytestmark = pytest.mark.acceptance

HOST = "127.0.0.1"
INSTANCE = Instance("i-1", "web", HOST, "a", "img", "1.0.0")
CHECKS = discover().checks
WHO = ["sh", "-c", "echo $SSH_CONNECTION"]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Run one server."""
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
async def ssh() -> AsyncIterator[Ssh]:
    """Return our side, which leaves no descriptor behind."""
    made = Ssh()
    yield made
    await made.close()


def made(kind: str, **options: object) -> Check:
    """Make a check as a check host does."""
    return CHECKS[kind].cls.model_validate(options)


async def ask(check: Check, instance: Instance = INSTANCE, timeout: float = 20.0) -> Ran:
    """Run a check once."""
    probe = NetworkProbe()
    ran = await run_check(check, instance, probe, timeout)
    await probe.close()
    return ran


async def test_a_command_has_a_code_and_its_two_outputs(ssh: Ssh, sshd: Sshd) -> None:
    """What it printed, where it printed it, and how it ended; each output up to 64 KiB."""
    answer = await ssh.run(HOST, ["sh", "-c", "echo out; echo err >&2; exit 3"], sshd.login())
    long = await ssh.run(HOST, ["sh", "-c", "head -c 100000 /dev/zero; head -c 90000 /dev/zero >&2"], sshd.login())
    killed = await ssh.run(HOST, ["sh", "-c", "kill -9 $$"], sshd.login())

    assert (3, b"out\n", b"err\n") == (answer.code, answer.stdout, answer.stderr)
    assert 0 < answer.seconds < 20
    assert (0, 65536, 65536) == (long.code, len(long.stdout), len(long.stderr))
    assert killed.code in (-9, 137)  # a shell that does not become the other says so in its own way


NASTY = ["; touch GONE", "$(touch GONE)", "`touch GONE`", "a\nb", "' \" \\", "*", "-x", "", "ü", "& | > < #"]


async def test_words_reach_the_program_as_they_are(ssh: Ssh, sshd: Sshd, tmp_path: Path) -> None:
    """Whatever is in them, no shell reads it."""
    words = [word.replace("GONE", str(tmp_path / "gone")) for word in NASTY]
    answer = await ssh.run(HOST, ["printf", "%s\\000", *words], sshd.login())

    assert words == answer.stdout.decode().split("\0")[:-1]
    assert not (tmp_path / "gone").exists()


async def test_a_machine_that_prints_for_ever_is_not_read_for_ever(ssh: Ssh, sshd: Sshd) -> None:
    """What is read costs us, and nothing that is read after a mebibyte can matter."""
    with pytest.raises(Unrunnable, match="prints more than 1 MiB"):
        await ssh.run(HOST, ["cat", "/dev/zero"], sshd.login())


async def test_a_connection_is_kept_and_shared(ssh: Ssh, sshd: Sshd) -> None:
    """From one command to the next, and by commands at the same time."""
    many = await asyncio.gather(*(ssh.run(HOST, WHO, sshd.login()) for _ in range(4)))
    later = await ssh.run(HOST, WHO, sshd.login())

    assert 1 == len({answer.stdout for answer in (*many, later)})


async def test_a_kept_connection_that_was_closed_is_nobodys_fault(ssh: Ssh, sshd: Sshd) -> None:
    """Sessions end with a server that is replaced; the next command goes over a new connection."""
    first = (await ssh.run(HOST, ["sh", "-c", "echo $PPID"], sshd.login())).stdout
    os.kill(int(first), 9)

    assert first != (await ssh.run(HOST, ["sh", "-c", "echo $PPID"], sshd.login())).stdout


async def test_a_machine_that_dies_meanwhile_has_refused(ssh: Ssh, sshd: Sshd) -> None:
    """The command was begun, so it is not begun again."""
    with pytest.raises(Refusal, match="broken off before the command ended"):
        await ssh.run(HOST, ["sh", "-c", "kill -9 $PPID; sleep 9"], sshd.login())


async def test_nothing_is_left_when_the_time_is_up(sshd: Sshd) -> None:
    """The session ends on both sides, and no descriptor stays open. OpenSSH kills the command too, but for root."""
    check = made("ssh", **sshd.keys, command=["sh", "-c", "while echo 86.75; do sleep 0.1; done"])
    await ask(made("ssh", **sshd.keys, command=["true"]))
    before = len(os.listdir("/proc/self/fd"))
    ran = await ask(check, timeout=2.0)

    assert (Status.CRITICAL, True, "no answer within 2s") == (ran.result.status, ran.result.silent, ran.result.text)
    assert before == len(os.listdir("/proc/self/fd"))
    async with asyncio.timeout(10):
        while running("while echo 86.75"):
            await asyncio.sleep(0.05)


async def test_what_a_command_leaves_behind_does_not_hold_the_answer(ssh: Ssh, sshd: Sshd) -> None:
    """A daemon that keeps the output open is waited for a second, not for its whole life."""
    answer = await ssh.run(HOST, ["sh", "-c", "sleep 4 & echo begun"], sshd.login())

    assert (0, b"begun\n") == (answer.code, answer.stdout)
    assert answer.seconds < 4


def running(words: str) -> bool:
    """Return whether a process has these words on its command line."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if words in Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"):
                return True
        except OSError:
            continue
    return False


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "a host key that is not known": ({"known": "* {other}\n"}, "shows a host key that is not known; add its key, or the authority"),
    "no host key at all": ({"known": "# none\n"}, "shows a host key that is not known"),
    "a host key that was revoked": ({"known": "* {host}\n@revoked * {host}\n"}, "shows a host key that is not known"),
    "a file that is none": ({"known_hosts": "/none"}, "/none can't be read (No such file or directory); put the host keys there"),
    "a file of something else": ({"known": "hello\n"}, "is no file of known hosts (Invalid known hosts entry: hello); mend it"),
    "a key that the machine does not know": ({"key_file": "stranger"}, "stranger; put its public key into that account's authorized_keys"),
    "an account that is none": ({"user": "nobody-at-all"}, "does not let nobody-at-all in"),
    "a key that is none": ({"key_file": "conf"}, "holds no private key without a passphrase"),
    "a key behind a passphrase": ({"key_file": "locked"}, "holds no private key without a passphrase; make one"),
    "a key that is not there": ({"key_file": "nowhere"}, "can't be read (No such file or directory); put the private key there"),
    "a key for everyone": ({"key_file": "open"}, "everyone may read"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_wrong_with_the_login_accuses_nobody(name: str, ssh: Ssh, sshd: Sshd) -> None:
    """It is our own fault, or a machine that is not the one we know: the sentence has the remedy."""
    changed, sentence = REFUSED[name]
    login: dict[str, object] = dict(changed)
    if "known" in changed:
        login = {"known_hosts": sshd.known(changed["known"])}
    if "key_file" in changed:
        login["key_file"] = str(sshd.folder / changed["key_file"])
    (sshd.folder / "open").write_bytes((sshd.folder / "key").read_bytes())
    (sshd.folder / "open").chmod(0o644)
    (sshd.folder / "conf").chmod(0o600)
    with pytest.raises(Unrunnable) as caught:
        await ssh.run(HOST, ["true"], sshd.login(**login))

    assert sentence in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)


LET_IN = {
    "the key of this host": "[127.0.0.1]:{port} {host}\n",
    "whoever has this key": "* {host}\n",
    "the authority of the image": "@cert-authority * {ca}\n",
    "any": "",
}


@pytest.mark.parametrize("name", LET_IN)
async def test_a_host_may_be_known_by_itself_or_by_its_authority(name: str, ssh: Ssh, sshd: Sshd) -> None:
    """A golden image makes its keys anew at each launch: an authority signs them. `any` asks for no key."""
    known = LET_IN[name]
    login = sshd.login(known_hosts=sshd.known(known) if known else "")

    assert b"hello\n" == (await ssh.run(HOST, ["echo", "hello"], login)).stdout


async def test_nothing_of_our_own_account_is_used(
    ssh: Ssh, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No configuration, no keys, no known hosts of the user who runs us."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  Port 1\n  User nobody\n  SetEnv A=1\n")
    (tmp_path / ".ssh" / "id_ed25519").write_bytes((sshd.folder / "key").read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))

    assert b"hello\n" == (await ssh.run(HOST, ["echo", "hello"], sshd.login())).stdout
    with pytest.raises(Unrunnable, match="does not let"):
        await ssh.run(HOST, ["true"], sshd.login(key_file=str(sshd.folder / "stranger")))


async def serve(said: bytes) -> tuple[asyncio.Server, int]:
    """Serve something that is no SSH: it says a word and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("said", "why"), [(b"", "closed before the login"), (b"SSH-1.5-old\n", "not SSH"), (b"x\r\n" * 9999, "not SSH")]
)
async def test_a_machine_that_does_not_speak_ssh_has_refused(said: bytes, why: str, ssh: Ssh, sshd: Sshd) -> None:
    """It answers, and badly."""
    server, port = await serve(said)
    with pytest.raises(Refusal, match=why):
        await ssh.run(HOST, ["true"], sshd.login(port=port))
    server.close()
    await server.wait_closed()


async def test_refusals_and_silence_are_told_apart(ssh: Ssh, sshd: Sshd) -> None:
    """A closed port is an answer; a port behind which nobody speaks is none."""
    with socket.socket() as closed:
        closed.bind((HOST, 0))
        with pytest.raises(Refusal, match="^connection refused$"):
            await ssh.run(HOST, ["true"], sshd.login(port=closed.getsockname()[1]))
    with socket.socket() as mute:
        mute.bind((HOST, 0))
        mute.listen()
        options = {**sshd.keys, "port": mute.getsockname()[1], "command": ["true"]}
        ran = await ask(made("ssh", **options), timeout=0.5)
    with pytest.raises(PermissionError, match="no address of a machine"):
        await ssh.run("169.254.169.254", ["true"], sshd.login())

    assert (True, "no answer within 500ms") == (ran.result.silent, ran.result.text)


async def test_a_version_is_no_program(sshd: Sshd, tmp_path: Path) -> None:
    """Macros are words, whatever a tag in the cloud says."""
    gone = tmp_path / "gone"
    evil = Instance("i-1", "web", HOST, f"$(touch {gone})", f"`touch {gone}`", f"; touch {gone} '; touch {gone} #")
    ran = await ask(
        made("ssh", **sshd.keys, command=["echo", "{version}{zone}", "v={image}"], expect_output="touch"), evil
    )

    assert Status.OK is ran.result.status
    assert f"{evil.version}{evil.zone} v={evil.image}" == ran.result.text
    assert not gone.exists()


async def test_a_plugin_on_the_machine_is_understood(sshd: Sshd) -> None:
    """Debian's own, run there: status, text and numbers in base units."""
    command: Sequence[str] = ["/usr/lib/nagios/plugins/check_disk", "-w", "1", "-c", "1", "-p", "/"]
    ran = await ask(made("ssh", **sshd.keys, command=command))

    assert Status.OK is ran.result.status
    assert "DISK OK" in ran.result.text
    assert 1e6 < ran.result.metrics["/"] < 1e15


async def test_disks_are_measured_as_the_kernel_counts_them(sshd: Sshd, tmp_path: Path) -> None:
    """This host's, beside a path that is not there and one that has no size."""
    there = tmp_path / "a 'strange' name"
    there.mkdir()
    paths = ["/", str(there), "/proc", "/none"]
    ran = await ask(made("disk", **sshd.keys, paths=paths, critical="0%", warn="0%"))
    state = os.statvfs("/")
    used = (state.f_blocks - state.f_bfree) * state.f_frsize
    free = state.f_bavail * state.f_frsize

    assert Status.UNKNOWN is ran.result.status
    assert "df tells no size of /proc; df: /none: No such file or directory" == ran.result.text
    assert pytest.approx(free, rel=0.05) == ran.result.metrics["disk_free_bytes:/"]
    assert pytest.approx(free / (used + free), rel=0.05) == ran.result.metrics["disk_free_ratio:/"]
    assert 0 < ran.result.metrics[f"disk_free_ratio:{there}"] <= 1


UNITS = """\
Result=success
NRestarts=2
LoadState=loaded
ActiveState=active
SubState=running

Result=exit-code
NRestarts=5
LoadState=loaded
ActiveState=failed
SubState=failed
"""


async def test_units_are_asked_for_by_name(sshd: Sshd) -> None:
    """What a stand-in for systemctl prints comes back as a result."""
    sshd.says(UNITS)
    ran = await ask(made("systemd_unit", **sshd.keys, units=["nginx.service", "app@1.service"]))

    assert "app@1.service is failed (exit-code), expected active" == ran.result.text
    assert {"restarts:nginx.service": 2, "restarts:app@1.service": 5} == ran.result.metrics


async def test_looking_inside_runs_in_the_plugin_host(sshd: Sshd) -> None:
    """On its cadence, over a connection that is kept, away from the prober."""
    inside = {"builtin": False, "interval": 0.5, "timeout": 20.0}
    checks = [
        spec("ssh", name="who", **inside, **sshd.keys, command=WHO, expect_output=HOST),  # type: ignore[arg-type]
        spec("disk", name="disk", **inside, **sshd.keys, warn="0%", critical="0%"),  # type: ignore[arg-type]
    ]
    async with watching_hosts() as watching:
        watching.hosts.configure({"web": checks}, {})
        watching.hosts.apply([observe("i-1")])
        await watching.until(lambda: any(r.status is Status.OK for r in watching.of("i-1", "disk")))
        await watching.until(lambda: sum(r.status is Status.OK for r in watching.of("i-1", "who")) >= 3)
        told = {r.text for r in watching.of("i-1", "who") if r.status is Status.OK and r.text}

    assert 1 == len(told)  # a text that stays the same is told once
    assert [] == watching.told
