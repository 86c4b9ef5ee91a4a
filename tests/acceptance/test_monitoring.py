"""/metrics of the real daemon, the alert rules and the dashboard, as Prometheus' own programs judge them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from supervisor.providers.local import faults
from supervisor.surfaces.metrics import OPENMETRICS, TEXT
from tests.program import Sickbay, free_port
from tests.scrapes import series

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
DASHBOARD, ALERTS = ROOT / "deploy" / "grafana-dashboard.json", ROOT / "deploy" / "alerts.yml"
PROMETHEUS = """
global: {{ scrape_interval: 500ms, evaluation_interval: 500ms }}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: sickbay
    static_configs: [{{ targets: ["127.0.0.1:{port}"] }}]
"""


@pytest.fixture
def sickbay(tmp_path: Path) -> Iterator[Sickbay]:
    """Return a daemon that is not started yet."""
    made = Sickbay(tmp_path)
    yield made
    made.end()


def promtool(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


def get(where: int | Path, path: str = "/metrics", accept: str = "") -> tuple[str, str]:
    """Ask a port of this host or a unix socket; return body and content type."""
    connection = HTTPConnection("127.0.0.1", where if isinstance(where, int) else None, timeout=10)
    if isinstance(where, Path):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(where))
    try:
        connection.request("GET", path, headers={"Accept": accept})
        answer = connection.getresponse()
        body = answer.read().decode()
        assert 200 == answer.status, f"{path}: {body}"
        return body, answer.headers["Content-Type"]
    finally:
        connection.close()


def eventually(look: Callable[[], Any], limit: float = 30.0) -> Any:
    """Return the first true answer of something that needs a moment."""
    deadline = time.monotonic() + limit
    while True:
        try:
            found = look()
        except (ConnectionError, AssertionError):  # not there yet, or not ready yet
            found = None
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_the_real_daemon_is_scraped_without_a_warning(sickbay: Sickbay) -> None:
    """After a crash that was healed: `promtool check metrics` has nothing to say, on either listener."""
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    faults.crash(sickbay.folder, "web", sickbay.serving()[0])
    sickbay.until(lambda: sickbay.rows("SELECT 1 FROM incident WHERE resolution = 'replaced'"))
    sickbay.until(sickbay.is_calm)
    eventually(lambda: 'sickbay_checks_started_total{host="prober"}' in get(sickbay.listen)[0])

    body, content_type = get(sickbay.listen)
    judged = promtool("check", "metrics", stdin=body)
    found = series(body)

    assert TEXT == content_type
    assert (0, "", "") == (judged.returncode, judged.stdout, judged.stderr)
    assert OPENMETRICS == get(sickbay.listen, accept="application/openmetrics-text")[1]
    assert found.keys() <= series(get(sickbay.folder / "sickbay.sock")[0]).keys()
    assert 3 == found['sickbay_fleet_serving{fleet="web"}']
    assert 1 == found['sickbay_incidents_resolved_total{fleet="web",kind="sick",resolution="replaced"}']
    assert 1 == sum(value for name, value in found.items() if name.startswith("sickbay_removals_total"))
    assert 1 == found['sickbay_check_host_up{host="prober"}']
    assert found['sickbay_checks_started_total{host="prober"}'] > 0
    assert 0 < found["sickbay_engine_step_seconds_sum"] < found["process_cpu_seconds_total"] * 2
    assert found["sickbay_commit_seconds_sum"] > 0
    assert not [name for name in found if 'host="plugins"' in name]
    assert not [name for name in found for instance in sickbay.rows("SELECT id FROM instance") if instance[0] in name]


def test_a_real_prometheus_reads_it_and_answers_the_dashboard(sickbay: Sickbay, tmp_path: Path) -> None:
    """It chooses OpenMetrics by itself; every panel's query is valid; the alert of an absent daemon fires."""
    sickbay.start()
    sickbay.until(sickbay.is_calm)
    port = free_port()
    folder = tmp_path / "prometheus"
    folder.mkdir()
    (folder / "prometheus.yml").write_text(PROMETHEUS.format(rules=ALERTS, port=sickbay.listen))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log,
        )  # fmt: skip

    def ask(query: str) -> list[dict[str, Any]]:
        return list(json.loads(get(port, f"/api/v1/query?query={quote(query)}")[0])["data"]["result"])

    try:
        serving = eventually(lambda: ask('sickbay_fleet_serving{job="sickbay"}'))
        target = json.loads(get(port, "/api/v1/targets")[0])["data"]["activeTargets"][0]
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            for part in panel.get("targets", ()):
                ask(filled(part["expr"]))
        state = ask(filled(json.loads(DASHBOARD.read_text())["panels"][1]["targets"][0]["expr"]))
        sickbay.kill()
        absent = eventually(lambda: ask('ALERTS{alertname="SickbayAbsent",alertstate="pending"}'))
    finally:
        process.terminate()
        process.wait(30)

    assert "3" == serving[0]["value"][1], (folder / "log").read_text()
    assert ("up", "") == (target["health"], target["lastError"])
    assert ["0"] == [row["value"][1] for row in state]  # OPTIMAL
    assert absent


def filled(query: str) -> str:
    """Return a panel's query with what Grafana would put in."""
    return query.replace("$__rate_interval", "1m").replace("$fleet", ".*").replace("$job", ".*")


def test_the_alert_rules_are_valid_and_fire_when_they_should() -> None:
    """`promtool check rules`, and the stories of tests/deploy/alerts_test.yml: each alert fires, after its patience."""
    checked = promtool("check", "rules", str(ALERTS))
    tested = promtool("test", "rules", str(ROOT / "tests" / "deploy" / "alerts_test.yml"))
    told = (ROOT / "tests" / "deploy" / "alerts_test.yml").read_text()

    assert (0, "") == (checked.returncode, checked.stderr)
    assert 0 == tested.returncode, tested.stdout + tested.stderr
    assert set(re.findall(r"alert: (\w+)", ALERTS.read_text())) == set(re.findall(r"name: '(Sickbay\w+):", told))
