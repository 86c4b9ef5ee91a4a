"""Bad input gets one clear sentence: what was found, what was expected, what to do. Each row is one mistake."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config import load, peek_socket
from supervisor.core.model import Mode
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
    "an unknown key": ("desired = 3", "desird = 3", "config.toml:6: [fleet.web] desird — this key is not known; did you mean `desired`?"),
    "an unknown table": ("[fleet.web.local]", "[flet.web.local]", "[flet] — this table is not known; did you mean [fleet]?"),
    "a wrong type": ("desired = 3", 'desired = "three"', 'config.toml:6: [fleet.web] desired = "three" — expected a valid integer'),
    "an impossible number": ("desired = 3", "desired = -1", "config.toml:6: [fleet.web] desired = -1 — expected greater than or equal to 0"),
    "an unknown check": ('kind = "http"', 'kind = "htpp"', 'config.toml:14: [fleet.web.check] kind = "htpp" — this kind of check is not known; known: exec, http, tcp'),
    "an unknown provider": ('provider = "local"', 'provider = "locl"', 'config.toml:5: [fleet.web] provider = "locl" — this provider is not known; known: local'),
    "an unknown remediation": ("desired = 3", 'desired = 3\nremediation = ["replase"]', "this remediation is not known; known: quarantine, replace, restart"),
    "a bare number for a duration": ("port = 8080", "port = 8080\ninterval = 10", 'expected a duration with its unit, in quotes, such as "30s" or "5m"'),
    "a time limit beyond the interval": ("port = 8080", 'port = 8080\ninterval = "1s"', 'timeout = "3s" — expected more than 0 and at most the interval'),
    "a check's own bad key": ("port = 8080", "port = 99999", "config.toml:15: [fleet.web.check] port = 99999 — expected less than or equal to 65535"),
    "a version that is no version": ('version = "1.0.0"', 'version = "new"', 'config.toml:7: [fleet.web] version = "new"'),
    "a missing image": ('image = "builtin:web"', 'image = "./nowhere"', "config.toml:10: [fleet.web.local] image — "),
    "a missing key": ("desired = 3\n", "", "config.toml:4: [fleet.web] desired — this key is missing"),
    "a listener for the world": ("[fleet.web]", 'listen = "0.0.0.0:80"\n[fleet.web]', 'listen = "0.0.0.0:80" — expected a loopback address'),
    "a state that is no path": ("sqlite:///tmp", "mysql:///tmp", 'expected "sqlite:///ABSOLUTE/PATH/state.db"'),
    "broken syntax": ("desired = 3", "desired = = 3", "line 6, column 11: Invalid value; mend the TOML syntax there"),
    "a floor above the other": ("[fleet.web]", "[guards]\nlb_floor = 0.9\n[fleet.web]", "lb_floor = 0.9 — expected at most serving_floor (0.8)"),
    "a share above one": ("[fleet.web]", '[guards]\nbreaker_share = "140%"\n[fleet.web]', 'breaker_share = "140%" — expected less than or equal to 1'),
    "a sick rate below the blip rate": ("[fleet.web]", "[judgement]\nsick_rate = 0.005\n[fleet.web]", "expected more than blip_rate (0.01)"),
    "a misspelt threshold": ("[fleet.web]", '[judgement]\nsick_aftr = "30s"\n[fleet.web]', "did you mean `sick_after`?"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_mistake_is_named_with_its_place_and_its_remedy(name: str, tmp_path: Path) -> None:
    """File, line, table, key, what was found and what was expected."""
    good, bad, sentence = ROWS[name]
    assert good in GOOD

    assert sentence in read(tmp_path, GOOD.replace(good, bad, 1))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Nobody wants to mend a file one error at a time."""
    text = GOOD.replace("desired = 3", "desired = -1").replace("port = 8080", "prot = 1")

    assert 2 == len(read(tmp_path, text).splitlines())


def test_two_checks_of_one_name_are_refused(tmp_path: Path) -> None:
    """Results and incidents could not say which one they mean."""
    text = GOOD + '\n[[fleet.web.check]]\nname = "alive"\nkind = "tcp"\nport = 80\n'

    assert 'config.toml:18: [fleet.web.check] name = "alive" — two checks of one fleet have this name' in read(
        tmp_path, text
    )


def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    """No file, and a file that is no text."""
    with pytest.raises(
        ConfigError, match="can't be read .No such file or directory.; give the file's path with --config"
    ):
        load(tmp_path / "none.toml", CATALOGUE)
    (tmp_path / "raw.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(tmp_path / "raw.toml", CATALOGUE)


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
    assert 14400.0 == config.settings.guards.hold_for
    assert 10.0 == config.fleets["web"].checks[0].interval
    assert 72 * 3600.0 == config.settings.retention.kept


@given(st.data())
def test_a_mangled_file_raises_nothing_else(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever somebody types, the answer is a sentence, not a traceback."""
    lines = GOOD.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "double", "value", "junk"]))
        if change == "drop":
            lines[at] = ""
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "value":
            value = data.draw(st.sampled_from(["true", "[]", "{}", "-1", '"x"', "1e999", "[[1]]", '"../.."', "nan"]))
            lines[at] = f"{lines[at].split('=')[0]}= {value}" if "=" in lines[at] else lines[at]
        else:
            lines[at] += data.draw(st.text(max_size=8))
    folder = tmp_path_factory.mktemp("mangled")
    path = folder / "config.toml"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    try:
        load(path, CATALOGUE)
    except ConfigError as error:
        assert str(error)


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
