"""The shape of config.toml as pydantic models. The numbers of judging come from the core's dataclasses, once."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from supervisor.config.secrets import SecretRef
from supervisor.core.duration import Duration
from supervisor.core.model import Mode, Role
from supervisor.core.settings import Guards, Judgement, Retention

SEMVER = r"^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"

MOST = 1_000_000
"""No count and no factor is larger."""

D = TypeVar("D")


class Model(BaseModel):
    """Frozen; a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _share(value: object) -> object:
    if isinstance(value, str):
        number = value.strip().removesuffix("%")
        if number == value.strip() or not number.replace(".", "", 1).isdecimal():
            raise ValueError('expected a share such as 0.3 or "30%"')
        return float(number) / 100
    return value


def _web_url(text: str) -> str:
    if text and urlsplit(text).scheme not in ("http", "https"):
        raise ValueError('expected a URL such as "https://sickbay.example.org/"')
    return text


def _private_url(text: str) -> str:
    """Allow plain HTTP to this host only: a token travels with each request."""
    parts = urlsplit(text)
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "::1", "localhost")):
        raise ValueError("expected an https URL (plain http only to this host)")
    return text if text.endswith("/") else text + "/"


Share = Annotated[float, BeforeValidator(_share), Field(ge=0.0, le=1.0)]
Rate = Annotated[Share, Field(gt=0.0, lt=1.0)]  # a chance: its logarithm, and that of its opposite, must exist


def _pace(value: timedelta) -> timedelta:
    if not timedelta(milliseconds=100) <= value <= timedelta(days=1):
        raise ValueError("expected 100ms to 1d")
    return value


Pace = Annotated[Duration, AfterValidator(_pace)]

NOT_DIVIDED = frozenset({"hold_for"})
"""Durations that `judgement.speed` leaves alone: an operator means what they say."""


def _table(name: str, source: type) -> type[BaseModel]:
    """Build the model of a table from a core dataclass: same names, same defaults, durations as text."""
    made: dict[str, Any] = {}  # Any: pydantic's field definitions
    for f in fields(source):
        if f.type == "Seconds":
            made[f.name] = (Duration, timedelta(seconds=cast(float, f.default)))
        elif f.type == "tuple[Seconds, ...]":
            default = tuple(timedelta(seconds=s) for s in cast("tuple[float, ...]", f.default))
            made[f.name] = (tuple[Duration, ...], default)
        elif f.type == "int":
            # No passes needed would mean: nobody looks before a machine serves.
            made[f.name] = (Annotated[int, Field(ge=1 if f.name.endswith("_passes") else 0, le=MOST)], f.default)
        elif f.name.endswith(("_intervals", "_per_month")):
            made[f.name] = (Annotated[float, Field(gt=0.0, le=MOST)], f.default)
        elif f.name in ("blip_rate", "sick_rate"):
            made[f.name] = (Rate, f.default)
        else:
            made[f.name] = (Share, f.default)
    return create_model(name, __base__=Model, **made)


JudgementNumbers = _table("JudgementNumbers", Judgement)
GuardsTable = _table("GuardsTable", Guards)


class JudgementTable(JudgementNumbers):  # type: ignore[misc, valid-type]  # built above, from the core's dataclass
    """`[judgement]`."""

    speed: Annotated[float, Field(ge=0.1, le=1000.0)] = 1.0


class QuarantineTable(Model):
    """`[quarantine]`: how long a machine that was set aside runs, and is kept."""

    running: Duration = timedelta(seconds=Retention().running)
    retention: Duration = timedelta(seconds=Retention().kept)


class SupervisorTable(Model):
    """`[supervisor]`."""

    mode: Mode = Mode.OBSERVE
    state: str = "sqlite:///var/lib/sickbay/state.db"
    listen: str = "127.0.0.1:8750"
    socket: str = ""
    inventory: Pace = timedelta(seconds=10)
    url: Annotated[str, AfterValidator(_web_url)] = ""


class PluginsTable(Model):
    """`[plugins]`."""

    paths: tuple[str, ...] = ()


class TerminalTable(Model):
    """`[chat.terminal]`: incidents on standard output. It has no keys yet; the table switches it on."""


class SlackTable(Model):
    """`[chat.slack]`: a bot token and a channel (messages are edited and threaded), or a webhook (they are not)."""

    channel: str = ""
    """Where to post: `#name` or, better, the channel's id. Only with `token`."""
    token: SecretRef | None = None
    """The bot token, scope chat:write; with channels:history as well, nothing is ever told twice."""
    webhook: SecretRef | None = None
    """The URL of an incoming webhook, instead of a token."""
    api_url: Annotated[str, AfterValidator(_private_url)] = "https://slack.com/api/"
    """Slack's API; another one for emulators."""

    @model_validator(mode="after")
    def _one_way(self) -> SlackTable:
        if (self.token is None) == (self.webhook is None):
            raise ValueError("expected exactly one of token and webhook")
        if self.token is not None and not self.channel:
            raise ValueError('a token needs the channel to post to, such as channel = "#ops"')
        return self


class ChatTable(Model):
    """`[chat]`."""

    terminal: TerminalTable | None = None
    slack: SlackTable | None = None


class CheckKeys(Model):
    """The keys of `[[fleet.NAME.check]]` that belong to the runner; the others are the kind's own."""

    name: Annotated[str, Field(pattern=NAME)] = ""
    kind: str
    role: Role = Role.LIVENESS
    interval: Duration = timedelta(seconds=10)
    timeout: Duration = timedelta(seconds=3)


class FleetKeys(Model):
    """The keys of `[fleet.NAME]` that every provider shares."""

    provider: str
    environment: str = ""
    desired: Annotated[int, Field(ge=0, le=100_000)]
    version: Annotated[str, Field(pattern=SEMVER)]
    mode: Mode | None = None
    remediation: tuple[str | dict[str, Any], ...] = ("replace",)  # Any: a remediation's own options


def to_core(table: BaseModel, target: type[D], speed: float = 1.0) -> D:
    """Turn a table into the core's dataclass: seconds, divided by the speed."""
    made: dict[str, object] = {}
    for f in fields(target):  # type: ignore[arg-type]  # always a dataclass
        value = getattr(table, f.name)
        factor = 1.0 if f.name in NOT_DIVIDED else speed
        if isinstance(value, timedelta):
            made[f.name] = value.total_seconds() / factor
        elif isinstance(value, tuple):
            made[f.name] = tuple(v.total_seconds() / factor for v in value)
        else:
            made[f.name] = value
    return target(**made)
