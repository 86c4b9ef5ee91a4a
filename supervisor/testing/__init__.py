"""For the authors of plugins: run a check or a remediation by the rules of production, without a network or a wait.

    def test_an_error_is_critical() -> None:
        result = run(MyCheck(port=80), instance(), FakeProbe(http=[http_answer(500)]))

        assert Status.CRITICAL is result.status

    def test_a_machine_that_hangs_serves_again() -> None:
        healing = heal(MyRemediation(), fault=Fault.HANG)

        assert "restarted" == healing.resolution

`asking` has what a check is asked with, `healing` what a remediation is tried on.
"""

from supervisor.testing.asking import (
    EchoRequest,
    FakeProbe,
    HttpRequest,
    ProgramRequest,
    Reply,
    SshRequest,
    TcpRequest,
    TlsRequest,
    UdpRequest,
    echo_answer,
    http_answer,
    instance,
    program_answer,
    run,
    tcp_answer,
    tls_answer,
    udp_answer,
)
from supervisor.testing.healing import Did, Fault, Healing, heal

__all__ = [
    "Did",
    "EchoRequest",
    "FakeProbe",
    "Fault",
    "Healing",
    "HttpRequest",
    "ProgramRequest",
    "Reply",
    "SshRequest",
    "TcpRequest",
    "TlsRequest",
    "UdpRequest",
    "echo_answer",
    "heal",
    "http_answer",
    "instance",
    "program_answer",
    "run",
    "tcp_answer",
    "tls_answer",
    "udp_answer",
]
