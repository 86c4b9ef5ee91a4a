"""What `sickbay explain` prints: what is wrong, how sure, what is done or why not; then everything that it rests on.

Within 80 columns, and readable without colours: the first lines are for somebody who was woken up.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import typer

from supervisor.cli.base import Json, print_table, when
from supervisor.cli.shown import serving
from supervisor.core.duration import words
from supervisor.core.text import clean, percent

COLUMNS = 80
LABEL = 15
DONE = {"hold": "nothing: ", "nothing": "nothing: ", "act": "", "watch": ""}
UNWELL = ("suspect", "sick")


def print_instance(document: Json) -> None:
    """Print why an instance is judged as it is."""
    view, verdict = document["instance"], document["verdict"]
    place = f" (zone {clean(view['zone'])})" if view["zone"] else ""
    typer.echo(f"{clean(view['fleet'])} {clean(view['id'])}{place}: {view['lifecycle']}, {view['health']}\n")
    unwell = view["health"] in UNWELL
    _say("what is wrong", f"{'nothing: ' if view['health'] == 'healthy' else ''}{view['reason']}")
    if verdict is not None and (unwell or verdict["cause"] != "instance"):
        _say("how sure", _how_sure(verdict))
    _decision(document)
    if view["held"]:
        _say("held", view["held"])
    _shared(document["shared"])
    if document["incident"]:
        _say("incident", f"#{document['incident']['id']}, {document['incident']['state']}")
    if document["checks"]:
        _checks(document["checks"])
    _rest(document, "")


def print_fleet(document: Json) -> None:
    """Print what is wrong with a fleet."""
    verdict, unwell = document["verdict"], document["sick"] or document["suspect"]
    typer.echo(f"{document['name']}: {serving(document)}, mode {document['mode']}\n")
    many = f"{len(document['sick'])} sick, {len(document['suspect'])} suspect"
    said = verdict["sentence"] or (f"{many}: {verdict['words']}" if unwell else "nothing: nobody is suspect")
    _say("what is wrong", said)
    if unwell or verdict["cause"] != "instance":
        _say("how sure", _how_sure(verdict))
    _decision(document)
    _shared(document["shared"])
    for name, found in (("sick", document["sick"]), ("suspect", document["suspect"])):
        if found:
            more = f" and {len(found) - 8} more" if len(found) > 8 else ""
            _say(name, f"{', '.join(found[:8])}{more}")
    _rest(document, " for the fleet; for a machine: `sickbay explain INSTANCE`")


def _how_sure(verdict: Json) -> str:
    share = percent(verdict["probability"])
    since = f", since {when(verdict['since'])[11:]} UTC" if verdict["since"] else ""
    if verdict["cause"] == "instance":
        return (
            f"{share}: its own fault (a removal needs {100 * verdict['needed']:g} %); challenge: {verdict['challenge']}"
        )
    if verdict["cause"] == "unexplained":
        return f"not enough to act on{since}: a removal needs {100 * verdict['needed']:g} % for its own fault"
    return f"{share}: {verdict['words']}{since}"


def _decision(document: Json) -> None:
    what, why = document["decision"]["what"], document["decision"]["why"]
    _say("what is done", f"{DONE.get(what, f'{what}: ')}{why}")
    for waited in document["waits_for"]:
        _say("waits for", waited)


def _shared(incidents: Json) -> None:
    for incident in incidents:
        since = f"open since {when(incident['opened_at'])} UTC: {incident['card']['impact']}"
        _say(f"incident #{incident['id']}", f"{since}; `sickbay incidents {incident['id']}` tells its story")


def _checks(checks: Json) -> None:
    typer.echo("\nEvidence")
    rows = [
        (
            c["name"],
            c["role"] + (f", {c['standing']}" if c["standing"] != "good" else ""),
            f"{c['status']}{', stale' if c['stale'] else ''}",
            f"{c['failures_in_a_row']} failed" if c["failures_in_a_row"] else f"{c['passes_in_a_row']} passed",
            ", ".join(f"{s['value']:g} of {s['condemns_at']:g}" for s in c["scores"]),
        )
        for c in checks
    ]
    print_table(("check", "role", "last", "in a row", "suspicion"), rows)
    for c in checks:
        reach = f" (asks {', '.join(c['depends_on'])} on the way)" if c["depends_on"] else ""
        since = f", failing for {words(c['failing_for_seconds'])}" if c["failing_for_seconds"] is not None else ""
        if c["text"]:
            _say(c["name"], f"{c['text']}{since}{reach}")


def _rest(document: Json, whose: str) -> None:
    verdict = document["verdict"]
    if verdict is not None and verdict["explanations"]:
        typer.echo("\nExplanations, best first")
        for e in verdict["explanations"]:
            _say(percent(e["probability"]), f"{e['words']}{': ' if e['evidence'] else ''}{'; '.join(e['evidence'])}")
    if verdict is not None and verdict["changes"]:
        typer.echo("\nChanged of late")
        for c in verdict["changes"]:
            _say(f"{when(c['at'])[11:]} UTC", f"{c['kind']} {c['target']}: {c['text'] or 'no word'} ({c['actor']})")
    guards = list(_guards(document["guards"]))
    if guards:
        holding = sum(1 for row in guards if row[0])
        typer.echo(f"\nGuards: {f'{holding} of {len(guards)} hold' if holding else 'all clear'}{whose}")
        print_table(("", "guard", "value", "needed", "for"), sorted(guards, key=lambda row: not row[0]))


def _guards(guards: Json) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield each guard once, with the first act that it stands before."""
    seen: set[str] = set()
    for act, readings in guards.items():
        for r in readings:
            if r["guard"] not in seen:
                seen.add(r["guard"])
                yield ("HOLDS" if r["holds"] else "", r["guard"], r["value"], r["threshold"], act)


def _say(label: str, text: str) -> None:
    """Print a label and a sentence beside it, folded where the window ends."""
    indent = " " * (LABEL + 2)
    folded = textwrap.fill(
        clean(text),
        COLUMNS,
        initial_indent=f"{clean(label):<{LABEL}}  ",
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    typer.echo(folded)
