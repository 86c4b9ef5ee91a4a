"""`sickbay check --trace`: what a check asked, what came back, and what Sickbay makes of it, against a real fleet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.program import Sickbay
from tests.watching import plugin_folder

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

MINE = """
import json
from supervisor.api import Check, CheckResult, Instance, Probe

class Mine(Check, kind="mine"):
    port: int

    async def run(self, instance: Instance, probe: Probe) -> CheckResult:
        answer = await probe.http.get(f"http://ann:secret@{instance.url_host}:{self.port}/healthz", headers={"X-Key": "secret"})
        await probe.tcp.connect(instance.address, self.port, send=b"HEAD / HTTP/1.0\\r\\n\\r\\n", until=b"\\n")
        await probe.program.run(["/bin/echo", "hello"])
        return self.judged(answer.body)

    def judged(self, body: bytes) -> CheckResult:
        return CheckResult.ok(json.loads(body)["no such key"])
"""
CONFIG = """
[[fleet.web.check]]
kind = "mine"
role = "advisory"
port = MACHINES
interval = "5s"
timeout = "5s"

[plugins]
paths = ["plugins"]

[judgement]"""


@pytest.fixture(scope="module")
def sickbay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sickbay]:
    """Return a daemon with a check that fails itself."""
    made = Sickbay(tmp_path_factory.mktemp("trying"))
    (made.folder / "plugins").mkdir()
    plugin_folder(made.folder / "plugins", MINE)
    made.write(**{"\n[judgement]": CONFIG.replace("MACHINES", str(made.machines))})
    try:
        made.start()
        made.until(made.is_calm)
        yield made
    finally:
        made.end()


def test_a_person_reads_each_question_with_its_answer_and_the_place_of_a_mistake(sickbay: Sickbay) -> None:
    """Plain text when piped; no header's value and no password is shown."""
    victim = sickbay.serving()[0]
    done = sickbay.run("check", "web", "--check", "mine", "--instance", victim, "--trace")
    told = done.stdout

    assert (1, "") == (done.returncode, done.stderr)
    assert told.startswith(f"{victim} (127.")
    assert f": check mine, kind mine with port = {sickbay.machines}\n" in told
    assert "GET http://***@127." in told
    assert "/healthz with X-Key\n" in told
    assert "HTTP 200, " in told
    assert " bytes: '{" in told
    assert "send 19 bytes: 'HEAD / HTTP/1.0\\r\\n\\r\\n', read until 1 byte: '\\n'\n" in told
    assert "run ['/bin/echo', 'hello']\n" in told
    assert "exit 0, 6 bytes: 'hello\\n'\n" in told
    assert "noted: UNKNOWN: the check itself failed: KeyError: 'no such key'\n" in told
    assert f"at {sickbay.folder}/plugins/mine.py:12 in run: return self.judged(answer.body)\n" in told
    assert (
        f'at {sickbay.folder}/plugins/mine.py:15 in judged: return CheckResult.ok(json.loads(body)["no such key"])\n'
        in told
    )
    assert "counts as nothing; it says nothing about the instance; its role is advisory\n" in told
    assert "secret" not in told
    assert "\x1b" not in told


def test_a_program_reads_the_same(sickbay: Sickbay) -> None:
    """One object for each run; times in seconds."""
    rows = sickbay.json("check", "web", "--trace")
    mine = [row for row in rows if row["check"] == "mine"]
    alive = [row for row in rows if row["check"] == "alive"]

    assert (3, 3) == (len(mine), len(alive))
    assert [4, 3] == [len(mine[0]["frames"]) + 2, len(mine[0]["trace"])]
    assert {"a pass"} == {row["counts_as"] for row in alive if row["status"] == "ok"}
    assert [[]] * 3 == [row["frames"] for row in alive]
    assert all(row["trace"][0]["asked"].startswith("GET http://127.") for row in alive)
    assert all(0 <= step["at_seconds"] <= 10 and 0 < step["took_seconds"] < 10 for row in rows for step in row["trace"])
    assert "trace" not in sickbay.json("check", "web", "--check", "alive")[0]
