"""Bad input gets one clear sentence: what was found, what was expected, what to do. Each row is one mistake."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.config import load, peek_socket
from supervisor.config.models import GuardsTable, JudgementTable
from supervisor.core.terms import Mode
from supervisor.core.text import clean
from supervisor.errors import ConfigError, PluginError
from supervisor.plugins import Catalogue, discover

CATALOGUE = discover()
SHIPPED = Path(__file__).parents[2] / "config.toml"

GOOD = """\
[supervisor]
state = "sqlite:///tmp/sickbay-test/state.db"

[fleet.web]
provider = "local"
desired = 3
version = "1.0.0"

[fleet.web.local]
image = "builtin:web"

[[fleet.web.check]]
name = "alive"
kind = "http"
port = 8080
"""


COMPOSITE = """port = 8080
[[fleet.web.check]]
name = "both"
kind = "composite"
all = [{}]
"""
DEEP = COMPOSITE.format('"alive"').replace("8080", '8080\nrole = "readiness"\ndepends_on = ["db"]', 1)


def read(tmp_path: Path, text: str, catalogue: Catalogue = CATALOGUE) -> str:
    """Return what is said of a file; '' when it is good."""
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load(path, catalogue)
    except ConfigError as error:
        return str(error).replace(str(tmp_path) + "/", "")
    return ""


ROWS = {
    "heartbeats without a broker": ('kind = "http"\nport = 8080', 'kind = "heartbeat"', 'config.toml:14: [fleet.web.check] kind = "heartbeat" — this kind needs a table [mqtt]; add it'),
    "a broker without TLS": ("[fleet.web]", '[mqtt]\nurl = "mqtt://broker.internal"\n[fleet.web]', '[mqtt] url = "mqtt://broker.internal" — expected mqtts://, MQTT over TLS (plain mqtt:// only to this host)'),
    "a broker that is a page": ("[fleet.web]", '[mqtt]\nurl = "https://broker"\n[fleet.web]', '[mqtt] url = "https://broker" — expected a URL such as "mqtts://broker.internal:8883"'),
    "no broker": ("[fleet.web]", "[mqtt]\n[fleet.web]", "[mqtt] url — this key is missing"),
    "half a certificate": ("[fleet.web]", '[mqtt]\nurl = "mqtts://b"\ncertificate = "config.toml"\n[fleet.web]', "expected certificate and key together, or neither"),
    "an authority that is not there": ("[fleet.web]", '[mqtt]\nurl = "mqtts://b"\nca_file = "none.crt"\n[fleet.web]', '[mqtt] ca_file = "none.crt" — is not a file; put the certificate there, as PEM'),
    "a root that is a wildcard": ("[fleet.web]", '[mqtt]\nurl = "mqtts://b"\nroot = "#"\n[fleet.web]', '[mqtt] root = "#" — expected the beginning of a topic, with a slash at its end'),
    "an unknown key": ("desired = 3", "desird = 3", "config.toml:6: [fleet.web] desird — this key is not known; did you mean `desired`?"),
    "an unknown table": ("[fleet.web.local]", "[flet.web.local]", "[flet] — this table is not known; did you mean [fleet]?"),
    "a wrong type": ("desired = 3", 'desired = "three"', 'config.toml:6: [fleet.web] desired = "three" — expected a whole number'),
    "an impossible number": ("desired = 3", "desired = -1", "config.toml:6: [fleet.web] desired = -1 — expected at least 0"),
    "an unknown check": ('kind = "http"', 'kind = "htpp"', 'config.toml:14: [fleet.web.check] kind = "htpp" — this kind of check is not known; known: '),
    "an unknown provider": ('provider = "local"', 'provider = "locl"', 'config.toml:5: [fleet.web] provider = "locl" — this provider is not known; known: ec2, local'),
    "an unknown remediation": ("desired = 3", 'desired = 3\nremediation = ["replase"]', "this remediation is not known; known: quarantine, replace, restart"),
    "a bare number for a duration": ("port = 8080", "port = 8080\ninterval = 10", 'expected a duration with its unit, in quotes, such as "30s" or "5m"'),
    "a time limit beyond the interval": ("port = 8080", 'port = 8080\ninterval = "1s"', 'timeout = "3s" — expected more than 0 and at most the interval'),
    "a check's own bad key": ("port = 8080", "port = 99999", "config.toml:15: [fleet.web.check] port = 99999 — expected at most 65535"),
    "a version that is no version": ('version = "1.0.0"', 'version = "new"', 'config.toml:7: [fleet.web] version = "new" — expected a version such as "1.4.0"'),
    "a missing image": ('image = "builtin:web"', 'image = "./nowhere"', "config.toml:10: [fleet.web.local] image — "),
    "a missing key": ("desired = 3\n", "", "config.toml:4: [fleet.web] desired — this key is missing"),
    "a listener for the world": ("[fleet.web]", 'listen = "0.0.0.0:80"\n[fleet.web]', 'listen = "0.0.0.0:80" — expected a loopback address'),
    "a state that is no path": ("sqlite:///tmp", "mysql:///tmp", 'expected "sqlite:///ABSOLUTE/PATH/state.db"'),
    "broken syntax": ("desired = 3", "desired = = 3", "config.toml:6: desired = = 3 — column 11: Invalid value; mend the TOML syntax there"),
    "a floor above the other": ("[fleet.web]", "[guards]\nlb_floor = 0.9\n[fleet.web]", "lb_floor = 0.9 — expected at most serving_floor (0.8)"),
    "a share above one": ("[fleet.web]", '[guards]\nbreaker_share = "140%"\n[fleet.web]', 'breaker_share = "140%" — expected at most 1'),
    "a sick rate below the blip rate": ("[fleet.web]", "[judgement]\nsick_rate = 0.005\n[fleet.web]", "expected more than blip_rate (0.01)"),
    "a pace of zero": ("[fleet.web]", 'inventory = "0s"\n[fleet.web]', 'inventory = "0s" — expected 100ms to 1d'),
    "a duration of centuries": ("[fleet.web]", '[judgement]\nsick_after = "9999999999999999d"\n[fleet.web]', "expected at most ten years (3650d)"),
    "a retention below the running time": ("[fleet.web]", '[quarantine]\nretention = "1h"\n[fleet.web]', "retention = 1h — expected at least `running` (4h)"),
    "a chance that is certain": ("[fleet.web]", "[judgement]\nsick_rate = 1\n[fleet.web]", "sick_rate = 1 — expected less than 1"),
    "an infinite rate": ("[fleet.web]", "[judgement]\nfalse_alarms_per_month = inf\n[fleet.web]", "false_alarms_per_month = inf — expected at most 1000000"),
    "a newcomer that nobody checks": ("[fleet.web]", "[judgement]\nstartup_passes = 0\n[fleet.web]", "startup_passes = 0 — expected at least 1"),
    "a share that is no number": ("[fleet.web]", '[guards]\nlb_floor = "half%"\n[fleet.web]', 'lb_floor = "half%" — expected a share such as 0.3 or "30%"'),
    "a number of five thousand digits": ("desired = 3", "desired = " + "9" * 5000, "holds a number of more than 4000 digits"),
    "a key of two thousand parts": ("desired = 3", ".".join("a" * 2000) + " = 3", "is nested too deeply"),
    "thirty tables in each other": ("desired = 3", "desired = " + "{a = " * 30 + "1" + "}" * 30, "is nested too deeply"),
    "a path with a NUL": ("builtin:web", "a\\u0000b", "config.toml:10: fleet.web.local.image — holds a NUL character; take it out"),
    "a value that moves the cursor": ('"local"', '"lo\\u001b[31m\\ncal"', 'provider = "lo cal" — this provider is not known'),
    "a fleet that is no name": ("[fleet.web]", "[fleet.'a b']\n[fleet.web]", "config.toml:4: [fleet] a b — expected a name of at most 63 letters"),
    "a remediation that is a number": ("desired = 3", "desired = 3\nremediation = [3]", "[fleet.web] remediation = 3 — expected"),
    "a chat that is no table": ("[fleet.web]", "[chat]\nterminal = 3\n[fleet.web]", "[chat] terminal = 3 — expected a table"),
    "a front door on the page's port": ('builtin:web"', 'builtin:web"\nfront_door = "127.0.0.1:8750"', "[supervisor] listen has this address; give each its own"),
    "a deep check that condemns": ("port = 8080", 'port = 8080\ndepends_on = ["db"]', 'role = "liveness" — a deep check can\'t condemn a machine for what it depends on; expected "readiness"'),
    "a deep check that is called shallow": ("port = 8080", 'port = 8080\nrole = "readiness"\nscope = "network"\ndepends_on = ["db"]', 'scope = "network" — expected "deep", as it depends on something'),
    "a sentinel that asks nothing": ("[fleet.web]", '[[sentinel]]\nname = "status"\nkind = "http"\n[fleet.web]', "a sentinel of kind http needs `url`"),
    "a sentinel that asks twice": ("[fleet.web]", '[[sentinel]]\nname = "db"\nkind = "tcp"\naddress = "db:5432"\nurl = "http://db/"\n[fleet.web]', "has `address`, not `url`; take it out"),
    "a sentinel of a zone that is not named": ("[fleet.web]", '[[sentinel]]\nname = "a"\nkind = "tcp"\naddress = "10.0.0.1:22"\nsense = "zone"\n[fleet.web]', "a sentinel of a zone needs `of`: which one"),
    "a sentinel without a port": ("[fleet.web]", '[[sentinel]]\nname = "a"\nkind = "tcp"\naddress = "10.0.0.1"\n[fleet.web]', '[sentinel] address = "10.0.0.1" — expected'),
    "a sentinel with a name of ours": ("[fleet.web]", '[[sentinel]]\nname = "loopback"\nkind = "tcp"\naddress = "10.0.0.1:22"\n[fleet.web]', 'name = "loopback" — two sentinels have this name (prober and loopback are built in); rename one'),
    "a sentinel that is no list": ("[fleet.web]", '[sentinel]\nname = "a"\n[fleet.web]', "[sentinel] = {'name': 'a'} — expected tables [[sentinel]]"),
    "a composite of a stranger": ("port = 8080", COMPOSITE.format('"nobody"'), '[fleet.web.check] all = "nobody" — no check of this fleet has this name; there are: alive'),
    "a composite of itself": ("port = 8080", COMPOSITE.format('"both"'), '"both" — this check has members itself; name those instead'),
    "a composite that hides a deep check": ("port = 8080", DEEP, '"alive" — is a deep check: what it depends on can\'t condemn a machine; give both another role'),
    "a composite that is unclear": ("port = 8080", COMPOSITE.format('"alive"') + 'any = ["alive"]', "expected either `all` or `any`"),
    "a number without a bound": ("port = 8080", 'port = 8080\n[[fleet.web.check]]\nkind = "prometheus"\nport = 1\nmetric = "up"', "expected a bound, such as critical"),
    "an alert label that is none": ("[fleet.web]", '[alertmanager]\ninstance_label = "a b"\n[fleet.web]', '[alertmanager] instance_label = "a b" — expected'),
    "nobody to ask in a challenge": ("[fleet.web]", "[explaining]\nchallenge_peers = 0\n[fleet.web]", "challenge_peers = 0 — expected at least 1"),
    "a misspelt threshold": ("[fleet.web]", '[judgement]\nsick_aftr = "30s"\n[fleet.web]', "did you mean `sick_after`?"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_mistake_is_named_with_its_place_and_its_remedy(name: str, tmp_path: Path) -> None:
    """File, line, table, key, what was found and what was expected, in one line for one mistake."""
    good, bad, sentence = ROWS[name]
    assert good in GOOD
    said = read(tmp_path, GOOD.replace(good, bad, 1))

    assert sentence in said
    assert 1 == len(said.splitlines()) or name in CASCADES


CASCADES = {"an unknown table"}  # taking away its table also takes away the keys in it


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Nobody wants to mend a file one error at a time."""
    text = GOOD.replace("desired = 3", "desired = -1").replace("port = 8080", "prot = 1")
    text += '\n[plugins]\npaths = ["nowhere"]\n'

    assert 3 == len(read(tmp_path, text).splitlines())


def test_two_fleets_want_two_front_doors(tmp_path: Path) -> None:
    """The second one is named, with the first."""
    text = GOOD + GOOD[GOOD.index("[fleet.web]") :].replace("fleet.web", "fleet.two")

    assert ['config.toml:21: [fleet.two] local = "127.0.0.1:8080" — fleet web has this address; give each its own'] == (
        read(tmp_path, text).splitlines()
    )


EDITORS: dict[str, Callable[[str], str]] = {
    "with a byte order mark": lambda text: "\ufeff" + text,
    "with line ends of two bytes": lambda text: text.replace("\n", "\r\n"),
    "with both": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "without a last line end": str.rstrip,
}


@pytest.mark.parametrize("name", EDITORS)
def test_whatever_the_editor_writes_is_read_and_its_lines_are_counted(name: str, tmp_path: Path) -> None:
    """The same file is good, and the same mistake is on the same line."""
    assert "" == read(tmp_path, EDITORS[name](GOOD))
    assert read(tmp_path, EDITORS[name](GOOD.replace("desired", "desird"))).startswith(
        "config.toml:6: [fleet.web] desird"
    )


def test_two_checks_of_one_name_are_refused(tmp_path: Path) -> None:
    """Results and incidents could not say which one they mean."""
    text = GOOD + '\n[[fleet.web.check]]\nname = "alive"\nkind = "tcp"\nport = 80\n'

    assert 'config.toml:18: [fleet.web.check] name = "alive" — two checks of one fleet have this name' in read(
        tmp_path, text
    )


def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    """No file, and a file that is no text."""
    with pytest.raises(
        ConfigError, match="can't be read .No such file or directory.; give a readable file's path with --config"
    ):
        load(tmp_path / "none.toml", CATALOGUE)
    (tmp_path / "raw.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(tmp_path / "raw.toml", CATALOGUE)


def test_the_socket_is_found_in_a_file_that_is_bad_elsewhere(tmp_path: Path) -> None:
    """Otherwise nobody could ask the daemon why it refused the file."""
    path = tmp_path / "config.toml"
    for bad in ("desired = = 3", "desired = -1", "mode = ["):
        path.write_text("mode = 3\n" + GOOD.replace("desired = 3", bad), encoding="utf-8")

        assert Path("/tmp/sickbay-test/sickbay.sock") == peek_socket(path)


def test_the_shipped_file_is_good_and_only_observes() -> None:
    """What a newcomer copies acts on nothing, and states the defaults truly."""
    config = load(SHIPPED, CATALOGUE)

    assert Mode.OBSERVE is config.settings.mode
    assert Path("/var/lib/sickbay/sickbay.sock") == config.socket == peek_socket(SHIPPED)
    assert (30.0, 600.0) == (config.settings.judgement.sick_after, config.settings.judgement.probation)
    assert ("web",) == tuple(config.fleets)


def test_speed_divides_judgement_and_nothing_else(tmp_path: Path) -> None:
    """Check intervals, time limits and retention are what the file says."""
    path = tmp_path / "config.toml"
    path.write_text(GOOD + "\n[judgement]\nspeed = 10\n", encoding="utf-8")
    config = load(path, CATALOGUE)

    assert 3.0 == config.settings.judgement.sick_after
    assert 60.0 == config.settings.guards.cooldown
    assert 18.0 == config.settings.explaining.holds_for
    assert 14400.0 == config.settings.guards.hold_for
    assert 10.0 == config.fleets["web"].checks[0].interval
    assert 72 * 3600.0 == config.settings.retention.kept


VALUES = [
    "true",
    "[]",
    "{}",
    "-1",
    '"x"',
    "1e999",
    "[[1]]",
    '"../.."',
    "nan",
    "9" * 5000,
    '"\\u0000"',
    "1979-05-27",
    '"9e9d"',
]
VALUES += [
    "{a = " * 9 + "1" + "}" * 9,
    ".".join("a" * 300) + " = 1",
    '"' + "x" * 300 + '"',
    '"99999999999d"',
    "[{kind = 3}]",
]


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Return a good file after a few slips of the finger."""
    lines = GOOD.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        change = draw(st.sampled_from(["drop", "double", "value", "key", "junk", "move"]))
        if change == "drop":
            lines[at] = ""
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "value":
            lines[at] = f"{lines[at].split('=')[0]}= {draw(st.sampled_from(VALUES))}" if "=" in lines[at] else lines[at]
        elif change == "key":
            lines.insert(at, f"{draw(st.sampled_from(KEYS))} = {draw(st.sampled_from(VALUES))}")
        elif change == "move":
            lines.append(lines.pop(at))
        else:
            lines[at] += draw(st.text(max_size=8))
    return "\n".join(lines).encode(errors="replace")


KEYS = sorted(
    {"provider", "kind", "image", "check", "remediation", "paths", "terminal", "speed", "front_door", "zones", "socket"}
    | {*JudgementTable.model_fields, *GuardsTable.model_fields}
)


@given(st.one_of(mangled(), st.binary(max_size=400), st.text(max_size=200).map(lambda t: t.encode(errors="replace"))))
@settings(max_examples=300)
def test_any_bytes_are_a_configuration_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever somebody types or copies there, the answer is no traceback, and every line of it can be shown."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    try:
        load(path, CATALOGUE)
    except ConfigError as error:
        lines = str(error).split("\n")
        assert all(line.startswith(str(path)) and line == clean(line) for line in lines)


ENDLESS: dict[str, str] = {
    "one key": ".".join("a" * 500_000) + " = 1",
    "one list": "x = [" + "1," * 500_000 + "]",
    "one string": 'x = "' + "a" * 1_000_000 + '"',
    "one number": "x = " + "9" * 1_000_000,
    "brackets": "[" * 1_000_000,
    "keys": "\n".join(f"k{number} = 1" for number in range(20_000)),
    "tables": "\n".join(f"[t{number}.a]" for number in range(20_000)),
    "spaces": " " * 1_000_000,
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.timeout(20)
def test_an_endless_file_is_refused_in_bounded_time(name: str, tmp_path: Path) -> None:
    """As large as a file may be, and as unkind to a parser."""
    assert read(tmp_path, ENDLESS[name])


PLUGIN = """
from supervisor.api import Check, CheckResult, Instance, Probe

class Mine(Check, kind="{kind}"):
    {field}: int = 1

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        return CheckResult.ok("mine")
"""


def plugin(tmp_path: Path, text: str) -> Path:
    """Write a plugin folder with one file."""
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    (folder / "mine.py").write_text(text, encoding="utf-8")
    (folder / "mine.py").chmod(0o644)
    return folder


PLUGINS = {
    "a kind that exists": (
        PLUGIN.format(kind="http", field="size"),
        "kind 'http' is defined twice: by built-in http.py",
    ),
    "a key of Sickbay's": (PLUGIN.format(kind="mine", field="timeout"), "declares timeout, which belong to Sickbay"),
    "a syntax error": ("def broken(:\n", "can't be loaded: SyntaxError"),
    "an error on import": ("1 / 0\n", "can't be loaded: ZeroDivisionError: division by zero (line 1)"),
    "no kind": (PLUGIN.format(kind="", field="size"), "class Mine names no kind"),
}


@pytest.mark.parametrize("name", PLUGINS)
def test_a_bad_plugin_is_named_and_nothing_starts(name: str, tmp_path: Path) -> None:
    """The file, and what to do about it."""
    text, sentence = PLUGINS[name]
    with pytest.raises(PluginError) as caught:
        discover([plugin(tmp_path, text)])

    assert sentence in str(caught.value)


def test_a_good_plugin_is_found_with_its_origin(tmp_path: Path) -> None:
    """One file in a folder, one kind."""
    found = discover([plugin(tmp_path, PLUGIN.format(kind="mine", field="size"))]).checks["mine"]

    assert found.origin.endswith("mine.py")
    assert not found.builtin


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    """Its code would run as the daemon."""
    folder = plugin(tmp_path, PLUGIN.format(kind="mine", field="size"))
    os.chmod(folder, 0o777)
    with pytest.raises(PluginError, match="writable by its group or by everyone; run `chmod go-w"):
        discover([folder])
