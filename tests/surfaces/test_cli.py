"""The command line against a running server: what somebody reads at 3 a.m., and when nobody is there to answer."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from supervisor.cli import app
from supervisor.core.fleet import Fleet
from supervisor.core.model import Incident, Instance, Permit
from supervisor.core.signals import Hold, OperatorAsked
from supervisor.core.terms import Cause, Lifecycle, Mode
from supervisor.core.verdict import Explanation, Verdict
from supervisor.surfaces.access import digest
from tests import stages
from tests.surfaces.front import Front, journal, serving

pytestmark = pytest.mark.acceptance

SETTINGS = stages.settings(mode=Mode.APPROVE)
RECORDS = journal(stages.settings(), mode=Mode.APPROVE)


async def typed(folder: Path, *words: str) -> Result:
    """Return what a command prints."""
    config = folder / "config.toml"
    config.write_text(f'[supervisor]\nsocket = "{folder / "s.sock"}"\n', encoding="utf-8")
    runner = CliRunner(env={"SICKBAY_CONFIG": str(config), "COLUMNS": None})  # no window
    return await asyncio.to_thread(lambda: runner.invoke(app, list(words)))


async def test_status_tells_what_keeps_a_surface_from_telling(tmp_path: Path) -> None:
    """Whoever hears nothing from Slack finds out here what is wrong, and how much waits."""
    async with serving(Front(RECORDS, SETTINGS), tmp_path):
        shown = (await typed(tmp_path, "status")).stdout

    assert "slack: Slack refuses: channel_not_found; invite the app; 3 messages wait" in shown


async def test_status_tells_what_is_wrong_and_what_one_may_do(tmp_path: Path) -> None:
    """The incident as on the page, with the command that helps; a held machine with its reason."""
    async with serving(Front(RECORDS, SETTINGS), tmp_path) as front:
        incident = next(i for i in front.engine.ctx.world.all(Incident) if i.held)
        front.step(OperatorAsked("1", Hold(incident.instance), "ada", "test", "I am looking at it"))
        shown = (await typed(tmp_path, "status")).stdout

    assert f"#{incident.id} web {incident.instance}" in shown
    assert f"what you may do: sickbay approve {incident.id}" in shown
    assert ": I am looking at it" in shown


async def test_just_started_nobody_reads_that_nobody_serves(tmp_path: Path) -> None:
    """Unknown is not down: after a start the command says that nobody has looked yet."""
    async with serving(Front(RECORDS, SETTINGS), tmp_path):
        shown = (await typed(tmp_path, "status")).stdout

    assert "web: UNKNOWN, not yet seen how many of 6 serve" in shown
    assert "0 of 6" not in shown
    assert "clean rounds, nothing is removed yet" in shown


async def test_a_line_stays_a_line_where_no_window_is_too_narrow(tmp_path: Path) -> None:
    """Piped into another program, no cell is folded, and evidence is a path that can be copied."""
    async with serving(Front(RECORDS, SETTINGS), tmp_path) as front:
        sick = next(i for i in front.engine.ctx.world.all(Incident) if i.held)
        shown = (await typed(tmp_path, "incidents")).stdout
        kept = (await typed(tmp_path, "quarantine", "list")).stdout

    assert [sick.cause] == [
        line.split("  ")[-1].strip() for line in shown.splitlines() if line.startswith(f"{sick.id} ")
    ]
    assert any(line.startswith("evidence of i-") for line in kept.splitlines())


@pytest.mark.parametrize("name", ["a b", "ä", "../../status", "i-0?x=1", "%2e%2e", ""])
async def test_an_instance_with_an_odd_name_is_not_known(tmp_path: Path, name: str) -> None:
    """What somebody mistyped is never taken for a daemon that does not answer, nor for another question."""
    async with serving(Front(RECORDS, SETTINGS), tmp_path):
        result = await typed(tmp_path, "explain", "--", name)

    assert 1 == result.exit_code
    assert "`sickbay status` lists them" in result.stderr


async def test_a_daemon_that_was_killed_is_named_as_gone(tmp_path: Path) -> None:
    """Its socket is still there; the sentence says how to start it, and shows no errno."""
    async with serving(Front(RECORDS, SETTINGS), tmp_path) as front:
        assert front.taken is not None
        (tmp_path / "s.sock").rename(tmp_path / "left")
    (tmp_path / "left").rename(tmp_path / "s.sock")
    result = await typed(tmp_path, "status")

    assert 69 == result.exit_code
    assert "start it with `sickbay run`" in result.stderr
    assert "Errno" not in result.stderr


async def test_what_is_wrong_and_how_sure_come_first_and_fit_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a fleet and of an instance: cause, probability, decision; then evidence, changes and guards."""
    monkeypatch.setattr(Fleet, "verdict_on", lambda fleet, _: fleet.verdict)
    async with serving(Front(RECORDS, SETTINGS), tmp_path) as front:
        context = front.engine.ctx
        assert 0 == (await typed(tmp_path, "changed", "network", "zone a", "new routes")).exit_code
        weighed = (
            Explanation(Cause.ZONE, "zone", "a", 0.98, ("3 of 3 there are unreachable, 0 of 3 elsewhere",)),
            Explanation(Cause.INSTANCE, "", "", 0.02, ()),
        )
        sentence = "zone a: 3 of 3 there are unwell, 0 of 3 elsewhere"
        fleet = context.fleets["web"]
        fleet.verdict = Verdict(Cause.ZONE, "zone", "a", 0.98, context.now.boot, weighed, sentence)
        member = next(i.id for i in context.world.all(Instance) if i.lifecycle is Lifecycle.IN_SERVICE)
        of_fleet = (await typed(tmp_path, "explain", "web")).stdout
        of_instance = (await typed(tmp_path, "explain", member)).stdout
        status = (await typed(tmp_path, "status")).stdout
        listed = (await typed(tmp_path, "changes")).stdout

    assert f"what is wrong    {sentence}" in of_fleet
    assert "how sure         98 %: zone a" in of_fleet
    assert "what is done     nothing: zone a is at fault, not single machines" in of_fleet
    assert of_instance.startswith(f"web {member} (zone ")
    for told in (of_fleet, of_instance):
        before_guards = told.partition("Guards:")[0]
        assert max(map(len, before_guards.splitlines())) <= 80
        assert "98 %             zone a: 3 of 3 there are unreachable" in told
        assert "network zone a: new routes" in told
        assert "HOLDS  mode" in told
    assert f"  {sentence} (98 % sure)" in status
    assert " a ! " in status
    assert "zone a" in listed


async def test_removals_are_allowed_for_a_while_and_never_for_ever(tmp_path: Path) -> None:
    """A permit has a number, an end and a reason; what makes no sense is one sentence."""
    async with serving(Front(RECORDS, SETTINGS), tmp_path) as front:
        given = await typed(tmp_path, "allow", "web", "--max", "3", "--for", "30m", "--reason", "the rack is gone")
        endless = await typed(tmp_path, "allow", "web", "--max", "3", "--for", "30d")
        nothing = await typed(tmp_path, "changed", "check", " ")
        permit = front.engine.ctx.world.need(Permit, "web")

    assert given.stdout.startswith("web: 3 removals are allowed until ")
    assert (3, "the rack is gone") == (permit.removals, permit.reason)
    assert "30d is no time to allow it for; expected up to 1d" in endless.stderr
    assert "the target is empty; name what was changed" in nothing.stderr


async def test_a_new_token_is_shown_once_with_the_table_that_knows_it(tmp_path: Path) -> None:
    """Standard output holds what programs want, in this order; the table can be pasted, and lets nobody in."""
    made = await typed(tmp_path, "token", "new", "ci", "--role", "operate")
    token, _, table = made.stdout.partition("\n")

    assert token.startswith("sickbay_")
    assert [{"name": "ci", "role": "operate", "sha256": digest(token).hex()}] == tomllib.loads(table)["token"]
    assert 2 == (await typed(tmp_path, "token", "new", "a b")).exit_code


@pytest.mark.parametrize(("option", "words"), [("--since", "expected a time"), ("--anchor", "expected SEQ:HASH")])
async def test_what_the_audit_log_is_asked_wrongly_is_wrong_use(tmp_path: Path, option: str, words: str) -> None:
    """One sentence, before anybody is asked."""
    result = await typed(tmp_path, "audit", option, "yesterday")

    assert 2 == result.exit_code
    assert words in result.stderr


async def test_an_incident_tells_first_why_we_think_so_then_the_facts(tmp_path: Path) -> None:
    """Whoever gets up at 3 a.m. need not look for the log, nor for what was changed."""
    async with serving(Front(RECORDS, SETTINGS), tmp_path) as front:
        incident = next(i for i in front.engine.ctx.world.all(Incident) if i.held)
        shown = (await typed(tmp_path, "incidents", str(incident.id))).stdout.splitlines()

    assert shown[0].startswith(f"incident {incident.id} (open): ")
    assert shown[1].startswith(f"why we think so: {incident.cause}; the first failure was at ")
    assert shown[2].startswith("  check alive: critical since ")
    assert shown[2].endswith(", HTTP 500, expected 200")
    assert shown[3] == "  cloud: machine running; load balancer: unhealthy"
    assert "  log, its last 2 lines:" in shown
    assert "  | error: cart is on fire" in shown
