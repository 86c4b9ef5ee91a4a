"""The report of an exam as one HTML file: tables and plots, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from supervisor.sim.exam.ablation import ABLATIONS
from supervisor.sim.exam.goals import Goal
from supervisor.sim.exam.plot import plot
from supervisor.sim.exam.runs import ORACLE, SICKBAY, Played
from supervisor.sim.exam.tally import Duel, Row, count, duels, span

STYLE = """
:root { --ground: #fff; --text: #1c2126; --soft: #5d6874; --line: #d8dee4; --band: #f4f6f8;
  --good: #1a7f37; --bad: #b3261e; --blue: #0b62c4; --amber: #9a5b00; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181c; --text: #e3e8ec; --soft: #98a4b0; --line: #323a42;
  --band: #1d2329; --good: #56c271; --bad: #ff8a80; --blue: #6cb0ff; --amber: #e5a84b; } }
* { box-sizing: border-box; }
body { background: var(--ground); color: var(--text); font: 15px/1.45 system-ui, sans-serif; margin: 0 auto;
  max-width: 92rem; padding: 1rem; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; } p { margin: .25rem 0 .75rem; max-width: 46rem; }
.soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, .words { text-align: left; white-space: normal; }
.words:not(:empty) { min-width: 15rem; }
th:first-child, td:first-child { min-width: 11rem; }
tr.own td { background: var(--band); }
.plots { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
figure { margin: 0; } figcaption { font-size: .9rem; margin-bottom: .25rem; } svg { display: block; height: auto;
  width: 100%; } svg text { fill: var(--soft); font-size: 10px; } details { margin: .25rem 0; }
summary { cursor: pointer; }
"""
# In the wide table the first column stays where it is while the others are scrolled.
STYLE += """
@media (max-width: 50rem) { .wide th:first-child, .wide td:first-child { background: var(--ground); left: 0;
  min-width: 8.5rem; position: sticky; } table { font-size: .8rem; } th, td { padding-right: .4rem; } }
"""


def report(
    rows: Sequence[Row], runs: Sequence[Played], goals: Sequence[Goal], told: Mapping[str, str], heading: str
) -> str:
    """Return the report as HTML. `told` says in a sentence what each scenario is."""
    found = duels([row for row in rows if not row.without])
    right = sum(duel.own.is_right for duel in found)
    body = [
        f"<h1>{escape(heading)}</h1>",
        f"<p>{right} of {len(found)} scenarios and fleet sizes were right in all their seeds. {COST}</p>",
    ]
    if goals:
        body += ["<h2>Goals</h2>", _goals(goals)]
    body += ["<h2>Cost of each policy</h2>", _costs(rows), "<h2>Sickbay, scenario by scenario</h2>", _own(found)]
    if any(row.without for row in rows):
        body += ["<h2>What each part is worth</h2>", _ablations(rows)]
    body += ["<h2>How it went</h2>", LEGEND, *_plots(found, runs, told)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


COST = (
    "Cost: capacity-minutes lost beyond what an oracle loses, 10 for each machine removed without need, 3 for each set "
    "aside without need, ½ for each needless launch, 20 when the cause is not named in five minutes, 1 for each page "
    "beyond the first."
)
LEGEND = (
    '<p class="soft">Thick blue line: machines that serve. Dashed: what the demand needs. Red area: machines that are at '
    "fault themselves. Below, ▼ marks a removal and ▲ a launch; the last line is what people were told.</p>"
)


def _table(head: Sequence[str], lines: Iterable[tuple[str, Sequence[str]]]) -> str:
    columns = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(f'<tr class="{kind}">' + "".join(cells) + "</tr>\n" for kind, cells in lines)
    return f'<div class="wide"><table>\n<thead><tr>{columns}</tr></thead>\n<tbody>\n{body}</tbody></table></div>'


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _goals(goals: Sequence[Goal]) -> str:
    kinds = {True: "good", False: "bad", None: "soft"}
    return _table(
        ("goal", "wanted", "measured", ""),
        (
            ("", (_cell(goal.what), _cell(goal.wanted), _cell(goal.measured), _cell(goal.word, kinds[goal.met])))
            for goal in goals
        ),
    )


def _costs(rows: Sequence[Row]) -> str:
    whole = [row for row in rows if not row.without and row.policy != ORACLE]
    policies = list(dict.fromkeys(row.policy for row in whole))
    cells = {(row.scenario, row.size, row.policy): row for row in whole}
    places = list(dict.fromkeys((row.scenario, row.size) for row in whole))

    def lines() -> Iterable[tuple[str, Sequence[str]]]:
        for scenario, size in places:
            found = [cells.get((scenario, size, policy)) for policy in policies]
            yield "", (_cell(f"{scenario}, {size}"), *(_cost(row) for row in found))

    note = '<p class="soft">Median over the seeds. “veto”: what no healer may do was done.</p>'
    return note + _table(("scenario, machines", *map(escape, policies)), lines())


def _cost(row: Row | None) -> str:
    if row is None:
        return _cell("–", "soft")
    return _cell(f"{count(row.cost)} veto" if row.vetoed else count(row.cost), "bad" if row.vetoed else "")


def _own(found: Sequence[Duel]) -> str:
    def lines() -> Iterable[tuple[str, Sequence[str]]]:
        for duel in found:
            own, best = duel.own, duel.best
            yield (
                "",
                (
                    _cell(f"{own.scenario}, {own.size}"),
                    _cell(
                        "right" if own.is_right else f"{own.rights} of {len(own.scores)}",
                        "good" if own.is_right else "bad",
                    ),
                    _cell(span(own.median("detected"))),
                    _cell(span(own.median("named"))),
                    _cell(span(own.median("recovered"))),
                    _cell(count(own.most("over_kill"))),
                    _cell(count(own.most("false_quarantines"))),
                    _cell(count(own.median("lost"))),
                    _cell(count(own.median("launches"))),
                    _cell(count(own.median("pages"))),
                    _cell(f"{count(own.cost)} / {count(own.worst)}"),
                    _cell(f"{count(best.cost)} {best.policy}" if best else "–"),
                    _cell(own.why, "words"),
                ),
            )

    return _table(
        (
            "scenario, machines", "right", "seen", "named", "whole again", "removed<br>without need",
            "set aside<br>without need", "lost<br>minutes", "launches", "pages", "cost, worst", "best baseline",
            "what was missed first",
        ),
        lines(),
    )  # fmt: skip


def _ablations(rows: Sequence[Row]) -> str:
    own = [row for row in rows if row.policy == SICKBAY]
    cells = {(row.scenario, row.size, row.without): row for row in own}
    places = list(dict.fromkeys((row.scenario, row.size) for row in own if row.without))
    parts = [part for part in ("", *ABLATIONS) if any(row.without == part for row in own)]

    def lines() -> Iterable[tuple[str, Sequence[str]]]:
        for scenario, size in places:
            yield "", (_cell(f"{scenario}, {size}"), *(_cost(cells.get((scenario, size, part))) for part in parts))
        sums = [sum(cells[s, n, part].cost for s, n in places if (s, n, part) in cells) for part in parts]
        yield "own", (_cell("all of these"), *(_cell(count(total)) for total in sums))

    head = [escape(ABLATIONS[part].split(":")[0]) if part else "whole" for part in parts]
    return _table(("cost: scenario, machines", *head), lines())


def _plots(found: Sequence[Duel], runs: Sequence[Played], told: Mapping[str, str]) -> Iterable[str]:
    traced: dict[tuple[str, int], list[Played]] = {}
    for run in runs:
        if run.trace is not None and not run.play.without and run.play.policy != ORACLE:
            traced.setdefault((run.score.scenario, run.play.size), []).append(run)
    for duel in found:
        here = traced.get((duel.own.scenario, duel.own.size), [])
        shown = [run for run in here if run.play.policy == SICKBAY]
        rivals = sorted((run for run in here if run.play.policy != SICKBAY), key=lambda run: run.score.cost(0.0))
        shown += [rivals[0], rivals[-1]] if len(rivals) > 1 else rivals
        if shown:
            yield f"<h3>{escape(duel.own.scenario)}, {duel.own.size} machines</h3>"
            yield f"<p>{escape(told.get(duel.own.scenario, ''))}</p>"
            yield '<div class="plots">' + "".join(_figure(run, place) for place, run in enumerate(shown)) + "</div>"


def _figure(run: Played, place: int) -> str:
    rank = ("", "the cheapest of the others: ", "the dearest: ")[place]
    score = run.score
    word = "veto: " + score.vetoes[0] if score.vetoes else "right" if score.right else score.why
    kind = "bad" if score.vetoes or not score.right else "good"
    trace = run.trace
    picture = plot(trace) if trace is not None else ""
    return (
        f"<figure><figcaption>{rank}<b>{escape(run.play.policy)}</b> "
        f'<span class="{kind}">{escape(word)}</span></figcaption>{picture}</figure>'
    )
