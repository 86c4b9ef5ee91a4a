"""The plugin contract: the only module that checks, remediations and third parties import.

A *check* puts one kind of question to one instance. Its fields are its keys in config.toml:

    class HttpCheck(Check, kind="http"):
        port: int = 80
        "The port at the instance's address."

        async def run(self, instance: Instance, probe: Probe) -> CheckResult: ...

One that asks a single question over the network derives from `AskingCheck` instead: it says what to ask and what the
answer means, and costs a fraction. One that asks nobody is a `PassiveCheck`: it judges what came in by other ways. One
that runs a command on the instance itself is an `SshCheck`.

A *remediation* is a pure plan of named steps:

    class Replace(Remediation, kind="replace"):
        def plan(self) -> Plan: ...

The text below a field is its line in the reference and in the JSON Schema of config.toml; the first sentence of the
class's docstring, or of the module's where the class has none, is the kind's line in `sickbay plugins`.

Cadence, time limit, thresholds, retries, guards and crash safety belong to Sickbay; a plugin has none of them. Its
author tests it with `supervisor.testing`.
"""

from supervisor.api.checks import RESERVED_KEYS, AskingCheck, Check
from supervisor.api.inside import InsideCheck, SshCheck, nagios_result
from supervisor.api.passive import AlertReport, BeatReport, CheckReport, PassiveCheck, Report
from supervisor.api.probes import (
    KEPT_BODY,
    LARGEST_BODY,
    Answer,
    EchoAnswer,
    HttpAnswer,
    HttpProbe,
    HttpQuestion,
    IcmpProbe,
    Probe,
    ProgramAnswer,
    ProgramProbe,
    Question,
    SshLogin,
    SshProbe,
    TcpAnswer,
    TcpProbe,
    TcpQuestion,
    TlsAnswer,
    TlsProbe,
    TlsVersion,
    UdpAnswer,
    UdpProbe,
)
from supervisor.api.remediations import Plan, Remediation, StepPlan
from supervisor.api.results import CheckResult, Instance, NoAnswer, Refusal, Unrunnable
from supervisor.core.duration import Duration
from supervisor.core.journal import Subject, Verb
from supervisor.core.macros import check_macros, has_macro
from supervisor.core.nagios import NagiosOutput, ending, first_line, read_nagios
from supervisor.core.terms import Lifecycle, Role, Status

__all__ = [
    "KEPT_BODY",
    "LARGEST_BODY",
    "RESERVED_KEYS",
    "AlertReport",
    "Answer",
    "AskingCheck",
    "BeatReport",
    "Check",
    "CheckReport",
    "CheckResult",
    "Duration",
    "EchoAnswer",
    "HttpAnswer",
    "HttpProbe",
    "HttpQuestion",
    "IcmpProbe",
    "InsideCheck",
    "Instance",
    "Lifecycle",
    "NagiosOutput",
    "NoAnswer",
    "PassiveCheck",
    "Plan",
    "Probe",
    "ProgramAnswer",
    "ProgramProbe",
    "Question",
    "Refusal",
    "Remediation",
    "Report",
    "Role",
    "SshCheck",
    "SshLogin",
    "SshProbe",
    "Status",
    "StepPlan",
    "Subject",
    "TcpAnswer",
    "TcpProbe",
    "TcpQuestion",
    "TlsAnswer",
    "TlsProbe",
    "TlsVersion",
    "UdpAnswer",
    "UdpProbe",
    "Unrunnable",
    "Verb",
    "check_macros",
    "ending",
    "first_line",
    "has_macro",
    "nagios_result",
    "read_nagios",
]
