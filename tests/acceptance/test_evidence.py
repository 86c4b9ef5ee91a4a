"""Evidence from elsewhere, with the real ones: Debian's Prometheus and Alertmanager, and the real daemon between them."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from supervisor.api import CheckResult, Instance, Status
from supervisor.plugins import discover
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import run_check
from tests.acceptance.test_monitoring import eventually
from tests.program import Sickbay, free_port

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

KIND = discover().checks["prometheus"].cls
HOSTILE = 'a"} or vector(1) #\\ \n|.*'
PADDING = "".join(f'padding{{n="{n}"}} {n}\n' for n in range(10_000))  # a page of 200 KiB
TOKEN = "a token that only these two know"

PROMETHEUS = """
global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}
scrape_configs:
  - job_name: standin
    static_configs: [{{ targets: ["127.0.0.1:{port}"] }}]
"""
ALERTMANAGER = """
route: {{ receiver: sickbay, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}
receivers:
  - name: sickbay
    webhook_configs:
      - url: http://127.0.0.1:{port}/api/v1/alerts
        http_config: {{ authorization: {{ credentials_file: {token} }} }}
"""
CHECKS = """
[[fleet.web.check]]
name = "alerts"
kind = "alertmanager"
role = "advisory"
interval = "300ms"
timeout = "250ms"

[[fleet.web.check]]
name = "image"
kind = "image_drift"
role = "advisory"
interval = "300ms"
timeout = "250ms"

[[fleet.web.check]]
name = "load"
kind = "prometheus"
role = "advisory"
url = "http://127.0.0.1:{prometheus}"
query = 'max(load{{address=~"{{address}}|b"}})'
critical = "> 0.9"
label = "load_ratio"
interval = "300ms"
timeout = "250ms"

[[fleet.web.check]]
name = "both"
kind = "composite"
all = ["alive", "image"]
role = "advisory"
interval = "300ms"
timeout = "250ms"

[alertmanager]
interval = "300ms"
token = {{ file = "{token}" }}
{url}

[judgement]"""


class Exporter(BaseHTTPRequestHandler):
    """A machine's page of metrics."""

    def do_GET(self) -> None:
        """Show every number."""
        hostile = HOSTILE.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        page = (
            "# TYPE load gauge\n"
            + "".join(f'load{{address="127.1.0.{n}"}} 0.5\n' for n in range(1, 10))
            + f'load{{address="{hostile}"}} 0.95\nload{{address="b"}} 0.1\nnothing NaN\n'
        ).encode()
        if self.path == "/large":
            page = PADDING.encode() + page
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        with suppress(ConnectionError):  # Prometheus ends while it scrapes
            self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def ask(port: int, path: str, body: object = None) -> Any:
    """Return what a port of this host answers, as JSON."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(
            "GET" if body is None else "POST",
            path,
            None if body is None else json.dumps(body),
            {"Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        text = answer.read().decode()
        assert 200 == answer.status, text
        return json.loads(text) if text else None
    finally:
        connection.close()


@contextmanager
def running(folder: Path, *argv: str, ready: Callable[[], Any]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until it is no longer needed."""
    with (folder / f"{argv[0]}.log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
    try:
        assert eventually(ready), (folder / f"{argv[0]}.log").read_text()
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def exporter() -> Iterator[int]:
    """Return the port of a stand-in for an exporter."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Exporter) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def prometheus(exporter: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a Prometheus that has scraped it."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "prometheus.yml").write_text(PROMETHEUS.format(port=exporter))
    arguments = [f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]

    def scraped() -> bool:
        return bool(ask(port, f"/api/v1/query?query={quote('load')}")["data"]["result"])

    with running(folder, "prometheus", f"--config.file={folder}/prometheus.yml", *arguments, ready=scraped):
        yield port


async def judged(address: str = "127.1.0.1", *, zone: str = "a", limit: float = 10.0, **options: object) -> CheckResult:
    """Run a check once, over real sockets."""
    probe = NetworkProbe()
    try:
        instance = Instance("i-1", "web", address, zone)
        return (await run_check(KIND.model_validate({"critical": "> 0.9"} | options), instance, probe, limit)).result
    finally:
        await probe.close()


QUERIES: dict[str, tuple[str, Status, str]] = {
    "one sample": ('load{address="{address}"}', Status.OK, "value is 0.5"),
    "one by a pattern": ("load{address=~'^{address}$'}", Status.OK, "value is 0.5"),
    "the hostile one": ('load{address="{zone}"}', Status.CRITICAL, "value is 0.95, which is > 0.9"),
    "the hostile one by a pattern": ("load{address=~'{zone}'}", Status.CRITICAL, "value is 0.95, which is > 0.9"),
    "none": ('load{address="{id}"}', Status.UNKNOWN, "the query finds no sample"),
    "several": ("load", Status.UNKNOWN, "the query finds 11 samples, expected one: aggregate them, as with max(…)"),
    "several as one": ("max(load)", Status.CRITICAL, "value is 0.95, which is > 0.9"),
    "NaN": ("nothing", Status.UNKNOWN, "the value is NaN"),
    "a scalar": ("scalar(vector(0.2))", Status.OK, "value is 0.2"),
    "a range": ("load[1m]", Status.UNKNOWN, "the query returns a matrix, expected one value now"),
    "what is no query": ("load{", Status.UNKNOWN, "Prometheus refuses the query: invalid parameter"),
}


@pytest.mark.parametrize("row", QUERIES)
async def test_a_real_server_answers_and_is_understood(prometheus: int, row: str) -> None:
    """With a zone that would like to be a query."""
    query, status, text = QUERIES[row]
    result = await judged(zone=HOSTILE, url=f"http://127.0.0.1:{prometheus}", query=query)

    assert (status, True) == (result.status, result.text.startswith(text)), result.text


async def test_a_server_that_is_not_there_condemns_nobody() -> None:
    """Neither by a refusal nor by silence."""
    refused = await judged(url=f"http://127.0.0.1:{free_port()}", query="up")
    silent = await judged(url="http://192.0.2.1:9090", query="up", limit=0.2)

    assert [Status.UNKNOWN] * 2 == [refused.status, silent.status]
    assert "Prometheus can't be asked: connection refused" == refused.text


async def test_an_instances_own_page_is_read_beyond_64_kib(exporter: int) -> None:
    """The page of an ordinary exporter is larger than what other checks keep."""
    found = await judged(
        "127.0.0.1", port=exporter, path="/large", metric='load{address="127.1.0.9"}', critical="> 0.4"
    )
    refused = await judged("127.0.0.1", port=free_port(), metric="up")

    assert ("load is 0.5, which is > 0.4", {"load": 0.5}) == (found.text, found.metrics)
    assert (Status.CRITICAL, "connection refused") == (refused.status, refused.text)


@pytest.fixture
def sickbay(tmp_path: Path) -> Iterator[Sickbay]:
    """Return a daemon that is not started yet."""
    made = Sickbay(tmp_path)
    yield made
    made.end()


def test_alerts_and_numbers_reach_the_real_daemon(sickbay: Sickbay, prometheus: int, tmp_path: Path) -> None:
    """A webhook tells what fires; when it is asked, Alertmanager tells the same, and the end; the rest is there as well."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    folder, port = tmp_path / "alertmanager", free_port()
    folder.mkdir()
    (folder / "alertmanager.yml").write_text(ALERTMANAGER.format(port=sickbay.listen, token=token))
    added = CHECKS.format(prometheus=prometheus, token=token, url="")
    sickbay.write(**{"[judgement]": added})
    sickbay.start()
    arguments = [
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with running(folder, "prometheus-alertmanager", *arguments, ready=lambda: ask(port, "/api/v2/status")):
        sickbay.until(sickbay.is_calm)  # from now on the first one stays the first
        sickbay.until(lambda: said(sickbay).get("image", "").startswith("ok"))
        assert "unknown Alertmanager is not heard" == said(sickbay)["alerts"]

        fire(port, first(sickbay), timedelta(hours=1))
        sickbay.until(lambda: said(sickbay)["alerts"] == "critical HighErrorRate: a tenth of all answers")
        sickbay.until(lambda: said(sickbay)["both"] == "ok 2 of 2 pass")
        sickbay.until(lambda: said(sickbay)["load"] == "ok load_ratio is 0.1")
        assert said(sickbay)["image"].startswith("ok runs ")

        sickbay.write(**{"[judgement]": added.replace("[judgement]", f'url = "http://127.0.0.1:{port}"\n[judgement]')})
        reload(sickbay)
        sickbay.until(lambda: said(sickbay)["alerts"] == "critical HighErrorRate: a tenth of all answers")
        fire(port, first(sickbay), timedelta(seconds=-1))
        sickbay.until(lambda: said(sickbay)["alerts"] == "ok no alert fires")

    (numbers,) = ask(sickbay.listen, f"/api/v1/instances/{sickbay.serving()[0]}/metrics")
    assert ("load", "load_ratio", {0.1}) == (
        numbers["check"],
        numbers["label"],
        {point["value"] for point in numbers["points"]},
    )


def reload(sickbay: Sickbay) -> None:
    """Have the daemon read its file anew."""
    assert sickbay.process is not None
    sickbay.process.send_signal(signal.SIGHUP)
    sickbay.until(lambda: "config.loaded" in (sickbay.logs / "err.log").read_text())


def first(sickbay: Sickbay) -> Any:
    """Return the first machine that serves."""
    return ask(sickbay.listen, f"/api/v1/instances/{sickbay.serving()[0]}")


def said(sickbay: Sickbay) -> dict[str, str]:
    """Return what each check says of it."""
    try:
        name = sickbay.serving()[0]
        checks = ask(sickbay.listen, f"/api/v1/instances/{name}/explain")["checks"]
    except (OSError, IndexError, AssertionError):
        return {}
    return {check["name"]: f"{check['status']} {check['text']}" for check in checks}


def fire(port: int, instance: Any, ends: timedelta) -> None:
    """Tell Alertmanager of an alert that ends so much later, as Prometheus does."""
    now = datetime.now(UTC)
    alert = {
        "labels": {"alertname": "HighErrorRate", "instance": f"{instance['address']}:9100", "severity": "page"},
        "annotations": {"summary": "a tenth of all answers"},
        "startsAt": (now - timedelta(minutes=1)).isoformat(),
        "endsAt": (now + ends).isoformat(),
    }
    stranger = alert | {"labels": {"alertname": "HighErrorRate", "instance": "198.51.100.1:9100"}}
    ask(port, "/api/v2/alerts", [alert, stranger])
