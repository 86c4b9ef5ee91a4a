"""Bad starts of the real program: one sentence for each mistake, exit code 78, and nothing lost or touched."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from supervisor.store import SqliteStore
from tests.program import Sickbay, free_port, look, start_badly

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

GOOD = """\
[supervisor]
state = "sqlite:///{folder}/state.db"
listen = "127.0.0.1:{listen}"

[fleet.web]
provider = "local"
desired = 3
version = "1.0.0"

[fleet.web.local]
image = "builtin:web"
front_door = "127.0.0.1:{front_door}"

[[fleet.web.check]]
name = "alive"
kind = "http"
port = 8080
"""


@dataclass(slots=True)
class Place:
    """A folder with a good configuration, and with a state file if asked for. What a row opens is closed after it."""

    folder: Path
    listen: int = field(default_factory=free_port)
    front_door: int = field(default_factory=free_port)
    humble: bool = False
    open: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        """Write the configuration."""
        self.write(GOOD)

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "config.toml"

    def write(self, text: str) -> None:
        """Write a configuration."""
        text = text.replace("{folder}", str(self.folder)).replace("{listen}", str(self.listen))
        self.config.write_text(text.replace("{front_door}", str(self.front_door)))

    def change(self, old: str, new: str) -> None:
        """Change the configuration at one place."""
        assert old in GOOD
        self.write(GOOD.replace(old, new, 1))

    def add(self, text: str) -> None:
        """Add to the configuration; what is added begins in line 18."""
        self.write(GOOD + "\n" + text + "\n")

    def image(self, start: str | None, mode: int = 0o755) -> None:
        """Make a golden image with this `start`, and configure it."""
        (self.folder / "image").mkdir()
        (self.folder / "image" / "readme").write_text("a golden image")
        if start is not None:
            (self.folder / "image" / "start").write_text(start)
            (self.folder / "image" / "start").chmod(mode)
        self.change("builtin:web", "./image")

    def plugins(self, folder: int = 0o755, file: int = 0o644) -> None:
        """Make a folder with an empty plugin, and configure it."""
        (self.folder / "plugins").mkdir()
        (self.folder / "plugins" / "mine.py").write_text("raise SystemExit('it was imported')\n")
        (self.folder / "plugins" / "mine.py").chmod(file)
        (self.folder / "plugins").chmod(folder)
        self.add('[plugins]\npaths = ["plugins"]')

    def hear(self, port: int) -> None:
        """Let somebody else listen on a port."""
        self.open.enter_context(socket.create_server(("127.0.0.1", port)))

    def hear_at(self, path: Path) -> None:
        """Let somebody else listen on a unix socket."""
        other = self.open.enter_context(socket.socket(socket.AF_UNIX))
        other.bind(str(path))
        other.listen()


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Place], object]:
    """Return what changes the bytes of the configuration."""
    return lambda place: place.config.write_bytes(change(place.config.read_bytes()))


def change(old: str, new: str) -> Callable[[Place], object]:
    """Return what changes the configuration at one place."""
    return lambda place: place.change(old, new)


def add(text: str) -> Callable[[Place], object]:
    """Return what adds to the configuration."""
    return lambda place: place.add(text)


def instead(make: Callable[[Path], object]) -> Callable[[Place], object]:
    """Return what puts something else in the configuration's place."""

    def put(place: Place) -> None:
        place.config.unlink()
        make(place.config)

    return put


def without_rights(place: Place) -> None:
    """Take the right to read the configuration away."""
    place.config.chmod(0)
    place.humble = True


CONFIG: dict[str, tuple[Callable[[Place], object], str]] = {
    "an unknown key that is nearly a known one": (change("desired", "desird"), "config.toml:7: [fleet.web] desird — this key is not known; did you mean `desired`?"),
    "an unknown key that is like none": (change("desired = 3", "desired = 3\nxyz = 1"), "config.toml:8: [fleet.web] xyz — this key is not known; known: desired, environment"),
    "an unknown table": (add("[guard]\nlb_floor = 0.5"), "config.toml:19: [guard] — this table is not known; did you mean [guards]?"),
    "a wrong type": (change("desired = 3", 'desired = "three"'), 'config.toml:7: [fleet.web] desired = "three" — expected a whole number'),
    "a date for a number": (change("desired = 3", "desired = 1979-05-27"), "config.toml:7: [fleet.web] desired = 1979-05-27 — expected a whole number"),
    "an unknown provider": (change('"local"', '"locl"'), 'config.toml:6: [fleet.web] provider = "locl" — this provider is not known; known: ec2, local'),
    "an unknown kind of check": (change('"http"', '"htpp"'), 'config.toml:16: [fleet.web.check] kind = "htpp" — this kind of check is not known; known: alertmanager, cloud_status, '),
    "an unknown remediation": (change("desired = 3", 'desired = 3\nremediation = ["replase"]'), 'config.toml:8: [fleet.web] remediation = "replase" — this remediation is not known; known: quarantine, replace, restart'),
    "two checks of one name": (add('[[fleet.web.check]]\nname = "alive"\nkind = "tcp"\nport = 80'), 'config.toml:20: [fleet.web.check] name = "alive" — two checks of one fleet have this name; rename one'),
    "a fleet that stands there twice": (add("[fleet.web]\ndesired = 4"), "config.toml:19: [fleet.web] — this stands there twice; keep one of the two"),
    "a key that stands there twice": (change("desired = 3", "desired = 3\ndesired = 4"), "config.toml:8: desired = 4 — this stands there twice; keep one of the two"),
    "two fleets behind one front door": (add('[fleet.two]\nprovider = "local"\ndesired = 1\nversion = "1.0.0"\n[fleet.two.local]\nimage = "builtin:web"\nfront_door = "127.0.0.1:{front_door}"'), "fleet web has this address; give each its own"),
    "no image where it should be": (change("builtin:web", "./nowhere"), "nowhere does not exist: expected a folder with an executable `start`"),
    "an image without a start": (lambda place: place.image(None), "config.toml:11: [fleet.web.local] image — golden image"),
    "an image whose start is not executable": (lambda place: place.image("#!/bin/sh", 0o644), "`start` is not executable; run chmod +x on it"),
    "an image that is a file": (change("builtin:web", "./config.toml"), "config.toml is a file: expected a folder with an executable `start`"),
    "an interval of zero": (change("port = 8080", 'port = 8080\ninterval = "0s"'), 'config.toml:18: [fleet.web.check] interval = "0s" — expected 100ms to 1d'),
    "a negative interval": (change("port = 8080", 'port = 8080\ninterval = "-1s"'), 'config.toml:18: [fleet.web.check] interval = "-1s" — expected a duration such as'),
    "a time limit beyond the interval": (change("port = 8080", 'port = 8080\ninterval = "1s"'), 'timeout = "3s" — expected more than 0 and at most the interval'),
    "fewer machines than none": (change("desired = 3", "desired = -1"), "config.toml:7: [fleet.web] desired = -1 — expected at least 0"),
    "a billion machines": (change("desired = 3", "desired = 1_000_000_000"), "desired = 1000000000 — expected at most 100000"),
    "a share above one": (add('[guards]\nbreaker_share = "140%"'), 'config.toml:20: [guards] breaker_share = "140%" — expected at most 1'),
    "port zero": (change("port = 8080", "port = 0"), "config.toml:17: [fleet.web.check] port = 0 — expected at least 1"),
    "port seventy thousand": (change("port = 8080", "port = 70000"), "config.toml:17: [fleet.web.check] port = 70000 — expected at most 65535"),
    "a listener on port seventy thousand": (change("{listen}", "70000"), 'config.toml:3: [supervisor] listen = "127.0.0.1:70000" — expected a port from 1 to 65535'),
    "a listener for the world": (change("127.0.0.1:{listen}", "0.0.0.0:80"), 'config.toml:3: [supervisor] listen = "0.0.0.0:80" — expected a loopback address'),
    "a version that is no version": (change('"1.0.0"', '"new"'), 'config.toml:8: [fleet.web] version = "new" — expected'),
    "a speed of zero": (add("[judgement]\nspeed = 0"), "config.toml:20: [judgement] speed = 0 — expected at least 0.1"),
    "a speed that is no number": (add("[judgement]\nspeed = nan"), "[judgement] speed = nan — expected"),
    "an endless speed": (add("[judgement]\nspeed = inf"), "[judgement] speed = inf — expected at most 1000"),
    "a duration of centuries": (add('[judgement]\nsick_after = "99999999999999d"'), 'sick_after = "99999999999999d" — expected at most ten years (3650d)'),
    "a retention below the running time": (add('[quarantine]\nrunning = "4h"\nretention = "1h"'), "config.toml:21: [quarantine] retention = 1h — expected at least `running` (4h)"),
    "a state that is no file": (change("sqlite:///", "mysql://"), 'config.toml:2: [supervisor] state = "mysql://'),
    "a socket whose path is too long": (change("[fleet.web]", f'socket = "{"s" * 120}"\n[fleet.web]'), "the path of a unix socket has at most 107 bytes; set a shorter `socket`"),
    "a folder for plugins that is not there": (add('[plugins]\npaths = ["nowhere"]'), 'config.toml:20: [plugins] paths = "nowhere" — is not a folder; make it, or take it out'),
    "an empty file": (rewrite(lambda _: b""), "config.toml: [fleet] — no fleet is configured; add a table [fleet.NAME]"),
    "no file": (lambda place: place.config.unlink(), "config.toml: can't be read (No such file or directory); give a readable file's path with --config"),
    "a folder in its place": (instead(os.mkdir), "config.toml: can't be read (Is a directory)"),
    "a pipe in its place": (instead(os.mkfifo), "config.toml: is no regular file; give the file's path with --config"),
    "a file that may not be read": (without_rights, "config.toml: can't be read (Permission denied); give a readable file's path"),
    "a binary file": (rewrite(lambda _: bytes(range(256)) * 9), "config.toml: is not UTF-8 text (byte 128); save it as UTF-8"),
    "a file of fifty megabytes": (rewrite(lambda good: good + b"# and so on\n" * 4_400_000), "config.toml: is larger than 1 MiB"),
    "tables without end": (rewrite(lambda good: good + b"x = " + b"{a = " * 5000 + b"1" + b"}" * 5000), "config.toml: is nested too deeply"),
    "broken syntax": (change("desired = 3", "desired = = 3"), "config.toml:7: desired = = 3 — column 11: Invalid value; mend the TOML syntax there"),
}  # fmt: skip


def socket_in(folder: str) -> Callable[[Place], object]:
    """Return what puts the unix socket elsewhere."""
    return change("[fleet.web]", f'socket = "{folder}/sickbay.sock"\n[fleet.web]')


def locked_folder(place: Place) -> None:
    """Put the socket into a folder that may not be written to."""
    (place.folder / "locked").mkdir(mode=0o555)
    socket_in("locked")(place)
    place.humble = True


SURROUNDINGS: dict[str, tuple[Callable[[Place], object], str]] = {
    "a port to listen on that is taken": (lambda place: place.hear(place.listen), "another process has it; stop that one, or set another `listen`"),
    "a unix socket that somebody answers": (lambda place: place.hear_at(place.folder / "sickbay.sock"), f"sickbay.sock is in use by another process (pid {os.getpid()}); stop that one, or set another `socket`"),
    "a file where the unix socket should be": (lambda place: (place.folder / "sickbay.sock").write_text("mine"), "sickbay.sock is there and is no socket; move it, or set another `socket`"),
    "a socket in a folder that is not there": (socket_in("nowhere"), "nowhere does not exist; make it, or set another `socket`"),
    "a socket in a folder that can't be written": (locked_folder, "locked can't be written; allow it, or set another `socket`"),
    "a front door whose port is taken": (lambda place: place.hear(place.front_door), "is taken by another process; free the port or choose another"),
    "a folder of plugins for everyone to write": (lambda place: place.plugins(folder=0o777), "plugins is writable by its group or by everyone; run `chmod go-w"),
    "a folder of plugins for a group to write": (lambda place: place.plugins(folder=0o775), "plugins is writable by its group or by everyone; run `chmod go-w"),
    "a plugin for everyone to write": (lambda place: place.plugins(file=0o666), "mine.py is writable by its group or by everyone; run `chmod go-w"),
    "a plugin for a group to write": (lambda place: place.plugins(file=0o664), "mine.py is writable by its group or by everyone; run `chmod go-w"),
}  # fmt: skip


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that every user may enter, which pytest's own is not."""
    made = Path(tempfile.mkdtemp(prefix="bad-start-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("name", CONFIG)
def test_a_bad_configuration_is_one_sentence_and_touches_nothing(name: str, folder: Path) -> None:
    """File, line, key, what was found, what was expected or what to do; no state, no socket, no machine."""
    prepare, sentence = CONFIG[name]
    place = Place(folder)
    prepare(place)
    refused = start_badly(folder, humble=place.humble)

    assert 1 == len(refused.lines), refused.lines
    assert refused.lines[0].startswith("sickbay: /")
    assert sentence in refused.lines[0]
    assert (78, ()) == (refused.code, refused.touched)


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_bad_surroundings_are_one_sentence_and_touch_nothing(name: str, folder: Path) -> None:
    """The state is as it was, no socket and no machine is left, and whoever has the address keeps it."""
    prepare, sentence = SURROUNDINGS[name]
    place = Place(folder)
    store = SqliteStore(folder / "state.db")
    store.load()
    store.close()
    with place.open:
        prepare(place)
        before = [_answers(port) for port in (place.listen, place.front_door)]
        refused = start_badly(folder, humble=place.humble)
        after = [_answers(port) for port in (place.listen, place.front_door)]

    assert 1 == len(refused.lines), refused.lines
    assert refused.lines[0].startswith("sickbay: ")
    assert sentence in refused.lines[0]
    assert (78, ()) == (refused.code, refused.touched)
    assert before == after


def test_many_mistakes_are_told_at_once_each_in_its_line(tmp_path: Path) -> None:
    """Every table is read to its end, and every line can be found with a search for `sickbay: `."""
    place = Place(tmp_path)
    place.write(
        GOOD.replace("desired = 3", "desird = 3").replace("port = 8080", "port = 0") + '\n[plugins]\npaths = "x"\n'
    )
    found = [start_badly(tmp_path, verb, "--config", "config.toml") for verb in ("run", "validate")]

    assert [
        "sickbay: config.toml:7: [fleet.web] desird — this key is not known; did you mean `desired`?",
        "sickbay: config.toml:17: [fleet.web.check] port = 0 — expected at least 1",
        'sickbay: config.toml:20: [plugins] paths = "x" — expected a list',
    ] == sorted(found[0].lines, key=lambda line: int(line.split(":")[2]))
    assert found[0] == found[1]
    assert 78 == found[0].code


def test_a_file_of_fifty_megabytes_costs_no_memory(tmp_path: Path) -> None:
    """It is not even read: with little more memory than the program itself needs, the sentence is the same."""
    place = Place(tmp_path)
    with place.config.open("ab") as file:
        file.truncate(2 << 30)
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); runpy.run_module('supervisor', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", limited, "validate", "--config", str(place.config)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert "is larger than 1 MiB (2147483648 bytes)" in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_a_second_daemon_touches_nothing_of_the_first(tmp_path: Path) -> None:
    """On its state, on its socket, on its port or at its front door: refused, and the first one goes on healing."""
    first = Sickbay(tmp_path)
    try:
        first.start()
        first.until(first.is_calm)
        assert first.process is not None
        pids, pid = first.pids(), first.process.pid
        rows = first.rows("SELECT id, lifecycle FROM instance")
        other = tmp_path / "other"
        other.mkdir()
        good = first.config.read_text()
        state, listen, door = f'"sqlite:///{tmp_path}', f"127.0.0.1:{first.listen}", f"127.0.0.1:{first.port}"
        elsewhere = (
            good.replace(state, f'"sqlite:///{other}')
            .replace(listen, f"127.0.0.1:{free_port()}")
            .replace(door, f"127.0.0.1:{free_port()}")
        )
        attempts = {
            f"state.db is in use by another daemon (pid {pid}); stop it, or choose another `state`": good,
            f"sickbay.sock is in use by another process (pid {pid})": elsewhere.replace(
                "[fleet.web]", f'socket = "{tmp_path}/sickbay.sock"\n[fleet.web]', 1
            ),
            f"can't listen on {listen}: another process has it": elsewhere.replace('listen = "127', f'listen = "{listen}"\n#', 1),
            f"{door} is taken by another process": elsewhere.replace('front_door = "127', f'front_door = "{door}"\n#', 1),
        }  # fmt: skip
        for sentence, text in attempts.items():
            (other / "config.toml").write_text(text)
            refused = start_badly(other)
            assert [78, 1] == [refused.code, len(refused.lines)], refused
            assert sentence in refused.lines[0]
        assert not {"local", "sickbay.sock"} & look(other).keys()
        assert first.process.poll() is None
        assert (pids, rows) == (first.pids(), first.rows("SELECT id, lifecycle FROM instance"))
        first.until(lambda: first.run("status").returncode in (0, 1))
        # What a daemon that was killed leaves behind, its socket included, is in nobody's way.
        first.kill()
        assert (tmp_path / "sickbay.sock").is_socket()
        assert 69 == first.run("status").returncode
        first.start()
        first.until(lambda: first.run("status").returncode in (0, 1))
        assert pids == first.pids()
        assert 0 == first.kill(15)
        assert not (tmp_path / "sickbay.sock").exists()
        assert "no daemon listens on" in first.run("status").stderr
    finally:
        first.end()


def test_a_good_file_is_good_from_everywhere(tmp_path: Path) -> None:
    """Written by any editor, with paths that are relative to the file and not to where somebody stands."""
    place = Place(tmp_path)
    place.image("#!/bin/sh\n")
    text = place.config.read_text().replace(str(tmp_path), "./data")
    place.config.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    for folder, name in ((tmp_path, "config.toml"), (Path("/"), str(place.config))):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "supervisor", "validate", "--config", name],
            capture_output=True, text=True, timeout=60, check=False, cwd=folder,
        )  # fmt: skip
        assert (0, "") == (done.returncode, done.stderr)
