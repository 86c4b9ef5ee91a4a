"""The shape of config.toml as pydantic models. The numbers of judging come from the core's dataclasses, once.

The text below a field is the key's description, here and in the core: the JSON Schema and the reference show it.
"""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    create_model,
    field_validator,
    model_validator,
)

from supervisor.config.docstrings import field_docs
from supervisor.config.secrets import SecretRef
from supervisor.core.duration import Duration
from supervisor.core.settings import Explaining, Guards, Judgement, Retention
from supervisor.core.signals import Sense
from supervisor.core.terms import Mode, Role, Scope

SEMVER = r"^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
LOOPBACK = r"^$|^(?:127(?:\.[0-9]{1,3}){3}|\[?[0:]+1\]?):[0-9]{1,5}$"
"""For the JSON Schema; the loader looks closer, and says more."""

ADDRESS = r"^(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}$"
LOCAL = ("127.0.0.1", "::1", "localhost")
BROKER = r"^(?:mqtts://[^/?#@\s]+|mqtt://(?:127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]{1,5})?)/?$"
ROOT = r"^(?:[A-Za-z0-9._-]{1,64}/){0,8}$"
CLIENT_ID = r"^[A-Za-z0-9_-]{0,64}$"
LABEL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"

MOST = 1_000_000
"""No count and no factor is larger."""

D = TypeVar("D")


class Model(BaseModel):
    """Frozen; a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _share(value: object) -> object:
    if isinstance(value, str):
        if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?%", value):
            raise ValueError('expected a share such as 0.3 or "30%"')
        return float(value[:-1]) / 100
    return value


def _web_url(text: str) -> str:
    if text and urlsplit(text).scheme not in ("http", "https"):
        raise ValueError('expected a URL such as "https://sickbay.example.org/"')
    return text


def _private_url(text: str) -> str:
    """Allow plain HTTP to this host only: a token travels with each request."""
    parts = urlsplit(text)
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in LOCAL):
        raise ValueError("expected an https URL (plain http only to this host)")
    return text if text.endswith("/") else text + "/"


def _broker_url(text: str) -> str:
    """Allow plain MQTT to this host only: whoever is on the way could beat for every machine."""
    parts = urlsplit(text)
    whole = parts.hostname and parts.path in ("", "/") and not parts.username and not parts.query and parts.port != 0
    if not whole or parts.scheme not in ("mqtts", "mqtt"):
        raise ValueError('expected a URL such as "mqtts://broker.internal:8883"')
    if parts.scheme == "mqtt" and parts.hostname not in LOCAL:
        raise ValueError("expected mqtts://, MQTT over TLS (plain mqtt:// only to this host)")
    return text


_Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
_Percentage = Annotated[str, Field(pattern=r"^(?:100(?:\.0+)?|[0-9]{1,2}(?:\.[0-9]+)?)%$")]
Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=_Fraction | _Percentage), Field(ge=0.0, le=1.0)]
"""A share in config.toml: 0.3 or "30%"."""
_Chance = Annotated[float, Field(gt=0.0, lt=1.0)]
_ChanceOf100 = Annotated[str, Field(pattern=r"^(?!0+(?:\.0+)?%$)[0-9]{1,2}(?:\.[0-9]+)?%$")]
Rate = Annotated[float, BeforeValidator(_share, json_schema_input_type=_Chance | _ChanceOf100), Field(gt=0.0, lt=1.0)]
"""A chance, written as a share is: its logarithm, and that of its opposite, must exist."""


def _pace(value: timedelta) -> timedelta:
    if not timedelta(milliseconds=100) <= value <= timedelta(days=1):
        raise ValueError("expected 100ms to 1d")
    return value


Pace = Annotated[Duration, AfterValidator(_pace)]

SIZE = r"^[1-9][0-9]{0,5}(?:kB|MB|GB)$"
BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9}


def _size(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(SIZE, value):
        return int(value[:-2]) * BYTES[value[-2:]]
    raise ValueError('expected a size such as "256MB" or "1GB"')


def _size_text(value: int) -> str:
    unit = next((u for u in ("GB", "MB") if value % BYTES[u] == 0), "kB")
    return f"{value // BYTES[unit]}{unit}"


Size = Annotated[
    int,
    BeforeValidator(_size, json_schema_input_type=Annotated[str, Field(pattern=SIZE)]),
    PlainSerializer(_size_text, return_type=str),
]
"""A size in config.toml: text with a unit, in bytes here."""

NOT_DIVIDED = frozenset({"hold_for"})
"""Durations that `judgement.speed` leaves alone: an operator means what they say."""

AT_LEAST_ONE = frozenset(
    {
        "challenge_peers", "lineage_limit", "quarantine_cap", "launch_failures", "launch_burst", "launch_rate", "flap_changes", "flap_spells",
    }
)  # fmt: skip
"""Whole numbers of which 0 would forbid all healing; `mode = "observe"` says that better."""


def _table(name: str, source: type) -> type[BaseModel]:
    """Build the model of a table from a core dataclass: same names, defaults and texts, durations as text."""
    docs = field_docs(source)
    made: dict[str, Any] = {}  # Any: pydantic's field definitions
    for f in fields(source):
        default: object = f.default
        kind: object = Share
        if f.type == "Seconds":
            kind, default = Duration, timedelta(seconds=cast(float, f.default))
        elif f.type == "tuple[Seconds, ...]":
            kind = Annotated[tuple[Duration, ...], Field(min_length=1)]
            default = tuple(timedelta(seconds=s) for s in cast("tuple[float, ...]", f.default))
        elif f.type == "bool":
            kind = bool
        elif f.type == "int":
            # No passes needed would mean: nobody looks before a machine serves.
            least = 1 if f.name in AT_LEAST_ONE or f.name.endswith("_passes") else 0
            kind = Annotated[int, Field(ge=least, le=MOST)]
        elif f.name == "quarantine_daily":
            kind = Annotated[float, Field(ge=0.0, le=MOST)]
        elif f.name.endswith(("_intervals", "_per_month")):
            kind = Annotated[float, Field(gt=0.0, le=MOST)]
        elif f.name in ("gray_suspects_at", "gray_condemns_at", "heartbeat_phi"):
            kind = Annotated[float, Field(gt=0.0, le=100.0)]
        elif f.name in ("blip_rate", "sick_rate", "gray_rate", "burst_hourly", "burst_now"):
            kind = Rate
        made[f.name] = (kind, Field(default=default, description=docs.get(f.name)))
    return create_model(name, __base__=Model, __doc__=source.__doc__, **made)


JudgementNumbers = _table("JudgementNumbers", Judgement)
GuardsTable = _table("GuardsTable", Guards)
ExplainingTable = _table("ExplainingTable", Explaining)


class JudgementTable(JudgementNumbers):  # type: ignore[misc, valid-type]  # built above, from the core's dataclass
    """When a machine counts as sick or well again, and how long the steps of healing may take."""

    speed: Annotated[float, Field(ge=0.1, le=1000.0)] = 1.0
    """Divides the durations of `[judgement]`, `[explaining]` and `[guards]`; for demos, drills and tests."""


class QuarantineTable(Model):
    """How long a machine that was set aside runs, and is kept."""

    running: Duration = Field(
        default=timedelta(seconds=Retention().running), description=field_docs(Retention)["running"]
    )
    retention: Duration = Field(default=timedelta(seconds=Retention().kept), description=field_docs(Retention)["kept"])
    notice: Duration = Field(default=timedelta(seconds=Retention().notice), description=field_docs(Retention)["notice"])
    snapshots: Duration = Field(
        default=timedelta(seconds=Retention().snapshots), description=field_docs(Retention)["snapshots"]
    )


class SupervisorTable(Model):
    """The daemon itself."""

    mode: Mode = Mode.OBSERVE
    """`observe` reports what it would do, `approve` asks first, `auto` heals."""
    state: Annotated[str, Field(json_schema_extra={"pattern": "^sqlite:///."})] = "sqlite:///var/lib/sickbay/state.db"
    """The journal: an absolute path after `sqlite:///`, or one after `sqlite:///./`, beside this file."""
    listen: Annotated[str, Field(json_schema_extra={"pattern": LOOPBACK})] = "127.0.0.1:8750"
    """ADDRESS:PORT of the API, which only reads: a loopback address, or "" for none."""
    socket: str = ""
    """The unix socket for operators; "" for `sickbay.sock` beside the state file."""
    inventory: Pace = timedelta(seconds=10)
    """How often each cloud is asked for its machines."""
    history: Duration = timedelta(days=8)
    """How long results and decisions are kept for `sickbay replay`, beside the state file; "0s" for not at all."""
    history_size: Size = 256_000_000
    """The history takes no more room than this; the oldest goes first."""
    url: Annotated[str, AfterValidator(_web_url)] = ""
    """Where people reach the page through a proxy: its links point there, and its Host is answered; "" for none."""


class PluginsTable(Model):
    """Checks and remediations of your own."""

    paths: tuple[str, ...] = ()
    """Folders with plugins, not writable by others; relative ones lie beside this file."""


class TerminalTable(Model):
    """Incidents on standard output. It has no keys; the table switches it on."""


class SlackTable(Model):
    """A bot token and a channel (messages are edited and threaded), or a webhook (they are not)."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["token", "channel"]}, {"required": ["webhook"]}]}
    )
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
    """Where incidents are told."""

    terminal: TerminalTable | None = None
    """Incidents on standard output; without this table, none."""
    slack: SlackTable | None = None
    """Incidents in a Slack channel; without this table, none."""


class SentinelTable(Model):
    """Something outside of the fleets that is asked besides, so that we know whether it is we who are cut off."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"properties": {"kind": {"const": "http"}}, "required": ["url"], "not": {"required": ["address"]}},
                {"properties": {"kind": {"const": "tcp"}}, "required": ["address"], "not": {"required": ["url"]}},
            ]
        }
    )
    name: Annotated[str, Field(pattern=NAME)]
    """Its name in `explain` and in messages, one of its own."""
    kind: Literal["http", "tcp"]
    """How it is asked."""
    url: str | None = None
    """What is asked with `http`, such as "https://status.example.org/". Redirects are not followed."""
    address: Annotated[str, Field(pattern=ADDRESS)] | None = None
    """HOST:PORT of what is asked with `tcp`."""
    sense: Sense = Sense.SIGHT
    """`sight`: it must work if we can see at all · `zone`: it stands in the zone `of` · `dependency`: machines depend on it."""
    of: Annotated[str, Field(pattern=LABEL)] | None = None
    """The zone, or the dependency as checks name it in `depends_on`. Not with `sight`."""
    interval: Pace = timedelta(seconds=5)
    """How often it is asked. Two failures in a row count, and one success."""
    timeout: Pace = timedelta(seconds=3)
    """No answer within this time is a failure; at most the interval."""

    @field_validator("url")
    @classmethod
    def _whole_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https://none")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError('expected a URL such as "https://status.example.org/"')
        return url

    @model_validator(mode="after")
    def _whole(self) -> SentinelTable:
        wanted, other = ("url", "address") if self.kind == "http" else ("address", "url")
        if getattr(self, wanted) is None:
            raise ValueError(f"a sentinel of kind {self.kind} needs `{wanted}`")
        if getattr(self, other) is not None:
            raise ValueError(f"a sentinel of kind {self.kind} has `{wanted}`, not `{other}`; take it out")
        if self.sense is Sense.SIGHT and self.of is not None:
            raise ValueError("a sentinel of sight speaks for nothing else; take `of` out, or set `sense`")
        if self.sense is not Sense.SIGHT and self.of is None:
            raise ValueError(f"a sentinel of a {self.sense} needs `of`: which one")
        if self.timeout > self.interval:
            raise ValueError("the timeout is longer than the interval; expected at most the interval")
        return self


class MqttTable(Model):
    """The broker to which machines send their heartbeats."""

    model_config = ConfigDict(
        json_schema_extra={"dependentRequired": {"certificate": ["key"], "key": ["certificate"], "user": ["password"], "password": ["user"]}}
    )  # fmt: skip
    url: Annotated[str, AfterValidator(_broker_url), Field(json_schema_extra={"pattern": BROKER})]
    """`mqtts://HOST` or `mqtts://HOST:8883`; plain `mqtt://` to this host only."""
    ca_file: str = ""
    """PEM file of the authorities that the broker's certificate may come from; "" for the system's."""
    certificate: str = ""
    """PEM file of our own certificate, the name that the broker knows us by; "" for none."""
    key: SecretRef | None = None
    """The certificate's private key, as PEM."""
    user: str = ""
    """A user name, for brokers that want one."""
    password: SecretRef | None = None
    """Its password."""
    root: Annotated[str, Field(pattern=ROOT)] = "sickbay/"
    """What every topic begins with."""
    client_id: Annotated[str, Field(pattern=CLIENT_ID)] = ""
    """How the broker tells its clients apart; "" for one that stays the same with the state file."""

    @property
    def address(self) -> tuple[str, int, bool]:
        """Host and port of the broker, and whether it is spoken to over TLS."""
        parts = urlsplit(self.url)
        tls = parts.scheme == "mqtts"
        return parts.hostname or "", parts.port or (8883 if tls else 1883), tls

    @model_validator(mode="after")
    def _pairs(self) -> MqttTable:
        if bool(self.certificate) != (self.key is not None):
            raise ValueError("expected certificate and key together, or neither")
        if bool(self.user) != (self.password is not None):
            raise ValueError("expected user and password together, or neither")
        if not self.address[2] and (self.certificate or self.ca_file):
            raise ValueError('certificates need TLS; expected url = "mqtts://HOST"')
        return self


class AlertmanagerTable(Model):
    """How alerts of Prometheus' Alertmanager come in, for the check `alertmanager`: its webhook, and asking it."""

    instance_label: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "instance"
    """The label that names the instance: by its id or its address, with a port or without."""
    url: Annotated[str, AfterValidator(_web_url)] = ""
    """Where Alertmanager answers, such as "http://alertmanager.example.org:9093": it is asked for all that fires; "" for never."""
    interval: Pace = timedelta(seconds=30)
    """How often it is asked. After three intervals without an answer nothing is known."""
    token: SecretRef | None = None
    """What its webhook says in `Authorization: Bearer`; without it, the webhook is taken on the unix socket only."""
    keep: Duration = timedelta(hours=5)
    """An alert of which only the webhook told ends when it is not repeated for so long: more than Alertmanager's `repeat_interval`."""


TABLES: dict[str, type[BaseModel]] = {
    "supervisor": SupervisorTable,
    "judgement": JudgementTable,
    "explaining": ExplainingTable,
    "guards": GuardsTable,
    "quarantine": QuarantineTable,
    "chat": ChatTable,
    "mqtt": MqttTable,
    "alertmanager": AlertmanagerTable,
    "plugins": PluginsTable,
}
"""The tables of the file, beside `[fleet.NAME]` and `[[sentinel]]`."""


class CheckKeys(Model):
    """The keys of every check, whatever its kind."""

    name: Annotated[str, Field(pattern=NAME)] = ""
    """Its name in results and incidents, one of its own in the fleet; without it, the kind."""
    kind: str
    """What it asks: a built-in kind, or one of a plugin; `sickbay plugins` lists them."""
    role: Role = Role.LIVENESS
    """`startup` gates entry, `readiness` may only take out of the load balancer, `liveness` may condemn, `advisory` only reports."""
    scope: Scope | None = None
    """How far it reaches: `local` (the machine itself), `network` (and the way to it), `deep` (and what it depends on). Without it, `deep` where `depends_on` names something, else `network`. A deep check can't be `liveness`."""
    depends_on: tuple[Annotated[str, Field(pattern=LABEL)], ...] = ()
    """What it asks on the way, such as ["db"]: where that is down, no machine is at fault."""
    interval: Duration = timedelta(seconds=10)
    """How often each machine is asked: 100ms to 1d."""
    timeout: Duration = timedelta(seconds=3)
    """No answer within this time is silence; at most the interval."""


class FleetKeys(Model):
    """The machines built from one golden image for one purpose."""

    provider: str
    """What talks to the cloud; its own keys are in the table `[fleet.NAME.PROVIDER]`."""
    environment: str = ""
    """A label, such as "production"."""
    desired: Annotated[int, Field(ge=0, le=100_000)]
    """How many machines should serve."""
    version: Annotated[str, Field(pattern=SEMVER)]
    """The human version of the golden image: a semantic version."""
    mode: Mode | None = None
    """Overrides `supervisor.mode` for this fleet."""
    stateful: bool = False
    """A wrong removal costs more here: better odds are needed (`explaining.stateful_odds`)."""
    remediation: tuple[str | dict[str, Any], ...] = ("replace",)  # Any: a remediation's own options
    """The ladder: what is tried first, then next; a kind, or a table with `kind` and its options."""


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
