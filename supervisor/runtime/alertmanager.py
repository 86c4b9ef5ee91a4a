"""Hears of alerts from Prometheus' Alertmanager: by its webhook, at once, and by asking for all that fire, now and then.

What a webhook tells is believed until it says otherwise, or does not repeat it. Asking finds what was told while we were
down, and shows that Alertmanager lives. Kept in memory only: after a restart nothing is known until one of both speaks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from supervisor.api import LARGEST_BODY, AlertReport, NoAnswer, Refusal
from supervisor.core.alerts import Alert, Alerts
from supervisor.core.terms import BootTime, Seconds
from supervisor.core.text import clean
from supervisor.runtime.probe import NetworkProbe
from supervisor.runtime.runner import boottime

log = structlog.get_logger()

ALL = "/api/v2/alerts?active=true&silenced=false&inhibited=false"
MISSED = 3  # intervals without an answer: then nobody is heard
LONGEST = 300  # characters of a text
TEXTS = ("summary", "description", "message")  # annotations that say it for people, the shortest first


@dataclass(frozen=True, slots=True)
class AlertmanagerSpec:
    """How alerts come in. Without a `url` it is never asked; `keep` is for what only a webhook told."""

    instance_label: str = "instance"
    url: str = ""
    interval: Seconds = 30.0
    keep: Seconds = 5 * 3600.0
    limit: Seconds = 10.0  # of one answer


class _Alert(BaseModel):
    """What webhook and API tell of an alert alike."""

    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: Annotated[datetime, Field(alias="startsAt")]
    fingerprint: Annotated[str, Field(min_length=1, max_length=64)]


class _Told(_Alert):
    """An alert in a webhook."""

    status: str


class _Webhook(BaseModel):
    """The webhook's body, version 4."""

    version: str
    alerts: list[_Told]


_LIST = TypeAdapter(list[_Alert])


class Alertmanager:
    """Who is firing. `known` returns our instances' ids by every name an alert may have for them: id and address."""

    def __init__(self, known: Callable[[], Mapping[str, str]]) -> None:
        """Hear nothing yet."""
        self.strangers = 0  # alerts of nobody that we know, since the start
        self.refused = 0  # alerts for which there was no room
        self._known = known
        self._spec = AlertmanagerSpec()
        self._alerts = Alerts()
        self._told: BootTime | None = None  # when a webhook came last
        self._listed: BootTime | None = None  # when an answer came last
        self._trouble = ""
        self._changed = asyncio.Event()

    def configure(self, spec: AlertmanagerSpec) -> None:
        """Take other settings. What is known goes on."""
        if spec != self._spec:
            self._spec = spec
            self._listed = None
            self._changed.set()

    def of(self, instance: str) -> list[AlertReport] | None:
        """Return the alerts that fire for an instance, None while nobody is heard."""
        now = boottime()
        if self._spec.url:
            heard = self._listed is not None and now - self._listed <= MISSED * self._spec.interval + self._spec.limit
        else:
            heard = self._told is not None
        if not heard:
            return None
        wall = datetime.now(UTC)
        return [
            AlertReport(a.name, a.text, a.severity, max(0.0, (wall - a.since).total_seconds()))
            for a in self._alerts.of(instance, now)
        ]

    def take(self, body: object) -> str:
        """Take the webhook's body, as JSON was read; return what became of it. Raises `ValueError` in one sentence."""
        try:
            told = _Webhook.model_validate(body)
        except ValidationError as error:
            raise ValueError(_first(error)) from None
        if told.version != "4":
            raise ValueError(f"version: found {told.version[:20]!r}, expected the webhook's version 4")
        now, strangers, refused = boottime(), self.strangers, self.refused
        firing = list(self._ours(alert for alert in told.alerts if alert.status == "firing"))
        resolved = list(self._ours(alert for alert in told.alerts if alert.status != "firing"))
        self.refused += self._alerts.fire(firing, now, now + self._spec.keep)
        ended = sum(self._alerts.end(alert.instance, alert.key) for alert in resolved)
        self._told = now
        said = [f"{len(firing)} fire, {ended} ended"]
        if self.strangers > strangers:
            said.append(f"{self.strangers - strangers} of no instance that is known")
        if self.refused > refused:
            said.append(f"{self.refused - refused} left out for want of room")
        return ", ".join(said)

    async def run(self) -> None:
        """Ask for what fires, for ever, as long as there is somebody to ask."""
        probe = NetworkProbe()
        try:
            while True:
                self._changed.clear()
                if self._spec.url:
                    self._mind(await self._ask(probe))
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._spec.interval if self._spec.url else None):
                        await self._changed.wait()
        finally:
            await probe.close()

    async def _ask(self, probe: NetworkProbe) -> str:
        """Ask once; return why there is no answer, '' when there is."""
        spec, asked = self._spec, boottime()
        try:
            async with asyncio.timeout(spec.limit):
                answer = await probe.http.get(spec.url.rstrip("/") + ALL, most=LARGEST_BODY)
            if answer.status != 200:
                return f"HTTP {answer.status}"
            found = _LIST.validate_python(json.loads(answer.body))
        except TimeoutError:
            return f"no answer within {spec.limit:.0f}s"
        except ValidationError as error:
            return f"it answers what Alertmanager does not: {_first(error)}"
        except (ValueError, RecursionError):
            return "more than 1 MiB of alerts" if len(answer.body) >= LARGEST_BODY else "it answers no JSON"
        except (Refusal, NoAnswer, OSError) as error:
            return str(error) or type(error).__name__
        if spec is not self._spec:
            return ""  # another one is to be asked now
        now = boottime()
        self.refused += self._alerts.replace(self._ours(found), asked, now, now + spec.keep)
        self._listed = now
        return ""

    def _mind(self, trouble: str) -> None:
        """Say when it begins to be silent, and when it is heard again."""
        if trouble and not self._trouble:
            log.warning("alertmanager.silent", url=self._spec.url, why=clean(trouble, LONGEST))
        elif self._trouble and not trouble:
            log.info("alertmanager.heard", url=self._spec.url)
        self._trouble = trouble

    def _ours(self, alerts: Iterable[_Alert]) -> Iterator[Alert]:
        """Yield alerts of our instances. Of others nothing is kept but their number."""
        known = self._known()
        for alert in alerts:
            instance = _whose(alert.labels.get(self._spec.instance_label, ""), known)
            if instance is None:
                self.strangers += 1
                continue
            labels, notes = alert.labels, alert.annotations
            text = next((notes[name] for name in TEXTS if notes.get(name)), "")
            since = alert.starts_at if alert.starts_at.tzinfo else alert.starts_at.replace(tzinfo=UTC)
            yield Alert(
                instance,
                alert.fingerprint,
                clean(labels.get("alertname", "an alert without a name"), LONGEST),
                clean(text, LONGEST),
                clean(labels.get("severity", ""), LONGEST),
                since,
            )


def _whose(label: str, known: Mapping[str, str]) -> str | None:
    """Return the instance that a label names: by id or by address, with a port or without."""
    host = label.rpartition(":")[0]
    return known.get(label) or known.get(host) or known.get(host.strip("[]"))


def _first(error: ValidationError) -> str:
    first: dict[str, Any] = dict(error.errors(include_url=False, include_input=False)[0])  # Any: pydantic's own
    return f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
