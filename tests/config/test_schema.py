"""The JSON Schema of config.toml is complete and true: it takes what `load` takes, and refuses what `load` refuses."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from supervisor.config import load
from supervisor.config.load import TABLES as READ
from supervisor.config.models import TABLES
from supervisor.config.schema import schema
from supervisor.errors import ConfigError
from supervisor.plugins import discover
from tests.config.test_bad_input import GOOD, PLUGIN, ROWS, plugin

ROOT = Path(__file__).parents[2]
CATALOGUE = discover()
DOCUMENT = schema(CATALOGUE)
VALIDATOR = jsonschema.Draft202012Validator(DOCUMENT)


def takes(text: str, document: dict[str, Any] | None = None) -> bool:
    """Return whether the schema takes a file."""
    validator = jsonschema.Draft202012Validator(document) if document else VALIDATOR
    return bool(validator.is_valid(tomllib.loads(text)))


def loads(text: str, tmp_path: Path) -> bool:
    """Return whether `load` takes a file."""
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    try:
        load(tmp_path / "config.toml", CATALOGUE)
    except ConfigError:
        return False
    return True


def test_it_is_a_schema_of_its_dialect() -> None:
    """Editors trust it."""
    jsonschema.Draft202012Validator.check_schema(DOCUMENT)

    assert "https://json-schema.org/draft/2020-12/schema" == DOCUMENT["$schema"]
    assert set(DOCUMENT["properties"]) == {"fleet", "sentinel", *TABLES} == set(READ)


def fenced(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def is_whole(text: str) -> bool:
    """Return whether a block is a whole config.toml, or at least has a whole fleet."""
    return "[fleet." in text and "\nprovider = " in text


PAGES = [
    str(page.relative_to(ROOT))
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if any(map(is_whole, fenced(page, "toml")))
]


@pytest.mark.parametrize("name", PAGES)
def test_the_examples_of_a_page_pass(name: str, tmp_path: Path) -> None:
    """What people copy is not underlined in red, with the plugins that the same page writes."""
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o755)
    for number, text in enumerate(
        t for t in fenced(ROOT / name, "python") if re.search(r"\((Check|Remediation), kind=", t)
    ):
        (folder / f"example{number}.py").write_text(text, encoding="utf-8")
        (folder / f"example{number}.py").chmod(0o644)
    document = schema(discover([folder]))

    assert [] == [text for text in fenced(ROOT / name, "toml") if is_whole(text) and not takes(text, document)]


def test_the_shipped_file_passes() -> None:
    """A newcomer's editor shows it without a complaint."""
    assert takes((ROOT / "config.toml").read_text(encoding="utf-8"))


def test_every_key_has_a_description() -> None:
    """An editor shows it, and so does the reference."""
    mute = [
        f"{name}.{key}"
        for name, piece in DOCUMENT["$defs"].items()
        for key, field in piece.get("properties", {}).items()
        if not field.get("description") and "$ref" not in field and "const" not in field
    ]

    assert [] == mute


SEEN = (
    "an unknown key",
    "an unknown table",
    "a wrong type",
    "an impossible number",
    "an unknown check",
    "an unknown provider",
    "an unknown remediation",
    "a bare number for a duration",
    "a check's own bad key",
    "a version that is no version",
    "a missing key",
    "a listener for the world",
    "a state that is no path",
    "a share above one",
    "a misspelt threshold",
)
"""Mistakes of the other table that a schema can see: the rest are about two keys, the disk, or TOML itself."""


@pytest.mark.parametrize("name", SEEN)
def test_the_schema_refuses_the_mistakes_of_the_other_table(name: str) -> None:
    """Each mistake that `load` names is underlined in an editor already."""
    good, bad, _ = ROWS[name]

    assert takes(GOOD)
    assert not takes(GOOD.replace(good, bad, 1))


BAD = {
    "text for a number": ("desired = 3", 'desired = "3"'),
    "a boolean for a number": ("desired = 3", "desired = true"),
    "a number for text": ('version = "1.0.0"', "version = 1"),
    "a date": ('version = "1.0.0"', 'version = "1.0.0"\nenvironment = 2026-01-01'),
    "a mode that is none": ("desired = 3", 'desired = 3\nmode = "automatic"'),
    "a fleet without its provider's table": ('[fleet.web.local]\nimage = "builtin:web"\n', ""),
    "the table of another provider": ("[fleet.web.local]", '[fleet.web.ec3]\nregion = "x"\n[fleet.web.local]'),
    "a key of nobody's in the provider's table": ('image = "builtin:web"', 'image = "builtin:web"\nflavour = "large"'),
    "no zone": ('image = "builtin:web"', 'image = "builtin:web"\nzones = []'),
    "a zone that is no label": ('image = "builtin:web"', 'image = "builtin:web"\nzones = ["a b"]'),
    "a front door without a port": ('image = "builtin:web"', 'image = "builtin:web"\nfront_door = "localhost"'),
    "a check without a kind": ('kind = "http"', 'role = "liveness"'),
    "a key of another kind of check": ("port = 8080", 'port = 8080\nsend = "hello"'),
    "a role that is none": ("port = 8080", 'port = 8080\nrole = "vital"'),
    "a status code that is none": ("port = 8080", "port = 8080\nexpect = 99"),
    "a class of status codes that is none": ("port = 8080", 'port = 8080\nexpect = ["6xx"]'),
    "yes for true": ("port = 8080", 'port = 8080\nverify = "yes"'),
    "a duration in other words": ("port = 8080", 'port = 8080\ninterval = "10 seconds"'),
    "one check for a list": ("[[fleet.web.check]]", "[fleet.web.check]"),
    "an option that a remediation has not": ("desired = 3", 'desired = 3\nremediation = [{ kind = "replace", n = 1 }]'),
    "a rung without a kind": ("desired = 3", "desired = 3\nremediation = [{}]"),
    "a fleet's name with a slash": ("fleet.web", 'fleet."we/b"'),
    "a share in words": ("[fleet.web]", '[guards]\nlb_floor = "half"\n[fleet.web]'),
    "a share as text": ("[fleet.web]", '[guards]\nlb_floor = "0.5"\n[fleet.web]'),
    "no room in quarantine": ("[fleet.web]", "[guards]\nquarantine_cap = 0\n[fleet.web]"),
    "no wait at all": ("[fleet.web]", "[guards]\nlaunch_retry = []\n[fleet.web]"),
    "speed without end": ("[fleet.web]", "[judgement]\nspeed = 1e9\n[fleet.web]"),
    "a key for the terminal": ("[fleet.web]", '[chat.terminal]\ncolour = "red"\n[fleet.web]'),
    "one folder for a list": ("[fleet.web]", '[plugins]\npaths = "plugins"\n[fleet.web]'),
    "no fleet": (GOOD, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_both_refuse(name: str, tmp_path: Path) -> None:
    """The editor and the daemon agree about a mistake."""
    good, bad = BAD[name]
    assert good in GOOD
    text = GOOD.replace(good, bad)

    assert (False, False) == (takes(text), loads(text, tmp_path))


FINE = {
    "one status code": ("port = 8080", "port = 8080\nexpect = 204"),
    "a class of status codes": ("port = 8080", 'port = 8080\nexpect = "2xx"'),
    "several": ("port = 8080", 'port = 8080\nexpect = [200, "3xx"]'),
    "a share in percent": ("[fleet.web]", '[guards]\nlb_floor = "12.5%"\n[fleet.web]'),
    "a whole number for a share": ("[fleet.web]", "[guards]\nserving_floor = 1\n[fleet.web]"),
    "a rung as a table": ("desired = 3", 'desired = 3\nremediation = ["restart", { kind = "replace" }]'),
    "nothing listens": ("[fleet.web]", 'listen = ""\n[fleet.web]'),
    "a loopback address of the newer kind": ("[fleet.web]", 'listen = "[::1]:8750"\n[fleet.web]'),
    "a chat": ("[fleet.web]", "[chat.terminal]\n[fleet.web]"),
    "no check": ("[[fleet.web.check]]", "[chat.terminal]\n[[fleet.web.check]]"),
}


@pytest.mark.parametrize("name", FINE)
def test_both_take(name: str, tmp_path: Path) -> None:
    """The ways in which a key may be written."""
    text = GOOD.replace(*FINE[name])

    assert (True, True) == (takes(text), loads(text, tmp_path))


def test_a_plugins_own_keys_are_in_it(tmp_path: Path) -> None:
    """Found with `--config`: an unknown kind is red without it."""
    found = discover([plugin(tmp_path, PLUGIN.format(kind="mine", field="size"))])
    text = GOOD.replace('kind = "http"\nport = 8080', 'kind = "mine"\nsize = 2')

    assert not takes(text)
    assert takes(text, schema(found))
    assert not takes(text.replace("size = 2", "size = true"), schema(found))


def test_defaults_are_said_as_the_file_says_them() -> None:
    """Durations as text, never in the words of another standard."""
    judgement = DOCUMENT["$defs"]["JudgementTable"]["properties"]

    assert "30s" == judgement["sick_after"]["default"]
    assert ["0s", "2m", "8m"] == DOCUMENT["$defs"]["GuardsTable"]["properties"]["launch_retry"]["default"]
    assert (
        "How often the load balancer asks each machine: 50ms to 1h."
        == (DOCUMENT["$defs"]["provider.local"]["properties"]["health_interval"]["description"])
    )


KEYS = [(name, key) for name, model in TABLES.items() if name != "supervisor" for key in model.model_fields]
VALUES = [
    "0",
    "1",
    "-1",
    "0.25",
    "true",
    '"x"',
    '"30s"',
    '"1h 30m"',
    '"0.0%"',
    '"12%"',
    '"100%"',
    '"101%"',
    "[]",
    '["1s"]',
    "{}",
    "[1]",
]
ELSEWHERE = {"sick_rate", "gray_rate", "blip_rate", "lb_floor", "serving_floor", "running", "retention", "paths"}
"""Keys that may also be held against each other, or against the disk, which is beyond a schema."""


@example(("explaining", "burst_hourly"), "0")
@example(("judgement", "blip_rate"), "1")
@given(st.sampled_from(KEYS), st.sampled_from(VALUES))
def test_both_agree_on_any_value_of_any_key(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, str], value: str
) -> None:
    """One key of one table, with a value that somebody may try."""
    table, key = place
    text = f"{GOOD}\n[{table}]\n{key} = {value}\n"
    good = loads(text, tmp_path_factory.getbasetemp())

    assert good <= takes(text)  # nothing good is red
    assert key in ELSEWHERE or good == takes(text)


class Twice(BaseModel):
    """A model without any text for its field."""

    size: int = 1


def test_one_class_may_serve_two_providers() -> None:
    """Models may be shared, and a model of somebody else's need not explain itself."""
    found = discover()
    local = found.providers["local"]
    found.providers |= {name: type(name, (), {"kind": name, "Options": Twice}) for name in ("one", "two")}
    text = GOOD.replace('"local"', '"two"').replace(
        '[fleet.web.local]\nimage = "builtin:web"', "[fleet.web.two]\nsize = 3"
    )

    assert local is found.providers["local"]
    assert takes(text, schema(found))
    assert takes(GOOD, schema(found))
