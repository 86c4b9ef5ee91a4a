"""Each baseline does what its product's documentation says: how fast it sees, and where it stops."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest

from supervisor.core.machine import MachineState
from supervisor.core.requests import Refused
from supervisor.sim.exam.baselines import BASELINES
from tests.exam.small_site import SmallSite

DIES = 600.0


def run(name: str, site: SmallSite, hours: float = 1.5) -> SmallSite:
    """Let a baseline watch a site."""
    site.run(BASELINES[name](), hours * 3600)
    return site


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        pytest.param("naive", 23, 34, id="naive: 28 s"),
        pytest.param("gcp-mig", 9, 16, id="GCP: 12 s"),
        pytest.param("aws-asg", 34, 66, id="ASG: 50 s"),
        pytest.param("capi-mhc-100", 330, 350, id="MachineHealthCheck: 340 s"),
        pytest.param("capi-mhc-40", 330, 350, id="MachineHealthCheck at 40 %: 340 s"),
        pytest.param("medik8s-nhc", 330, 350, id="NodeHealthCheck: 340 s"),
        pytest.param("k8s-node-lifecycle", 330, 350, id="node lifecycle: 340 s"),
        pytest.param("karpenter", 1830, 1950, id="Karpenter: 30 min, and the boot that it waits for"),
        pytest.param("azure-vmss", 14, 21, id="Azure: 17 s"),
    ],
)
def test_a_clean_crash_is_replaced_as_fast_as_the_product_does(name: str, least: float, most: float) -> None:
    """One machine dies; it alone is replaced, after the time that the product's numbers add up to."""
    took = []
    for phase in range(5):
        site = SmallSite(6)
        site.kill(DIES + 2.1 * phase, 1)
        run(name, site, 1.0)
        assert [who for _, who in site.removed] == ["i-000"]
        assert len(site.launched) == 1
        took.append(site.removed[0][0] - DIES - 2.1 * phase)

    assert least <= statistics.mean(took) <= most


@pytest.mark.parametrize(
    ("name", "size", "dead", "removed"),
    [
        pytest.param("naive", 10, 10, 10, id="naive kills all"),
        pytest.param("aws-asg", 10, 10, 10, id="an ASG kills all"),
        pytest.param("gcp-mig", 10, 9, 9, id="a MIG recreates all but one at once"),
        pytest.param("capi-mhc-100", 10, 10, 10, id="MachineHealthCheck at 100 % kills all"),
        pytest.param("capi-mhc-40", 10, 4, 4, id="MachineHealthCheck at 40 %: four of ten are healed"),
        pytest.param("capi-mhc-40", 10, 5, 0, id="MachineHealthCheck at 40 %: five of ten are too many"),
        pytest.param("capi-mhc-40", 7, 3, 0, id="MachineHealthCheck at 40 % rounds down: three of seven are too many"),
        pytest.param("medik8s-nhc", 10, 4, 4, id="NodeHealthCheck: six of ten healthy are enough"),
        pytest.param("medik8s-nhc", 10, 5, 0, id="NodeHealthCheck: five of ten healthy are too few"),
        pytest.param("karpenter", 10, 2, 2, id="Karpenter: two of ten are healed"),
        pytest.param("karpenter", 10, 3, 0, id="Karpenter: three of ten are too many"),
        pytest.param("karpenter", 3, 1, 1, id="Karpenter rounds up: one of three is healed"),
        pytest.param("k8s-node-lifecycle", 9, 9, 0, id="node lifecycle: all zones down, nobody is evicted"),
    ],
)
def test_each_brake_is_as_documented(name: str, size: int, dead: int, removed: int) -> None:
    """So many die at once and stay dead; so many of them are taken away."""
    site = SmallSite(size)
    site.kill(DIES, dead)
    run(name, site, 1.1)

    assert len([who for _, who in site.removed if who.startswith("i-")]) == removed


@pytest.mark.parametrize("name", [name for name, made in BASELINES.items() if name not in ("envoy-outlier", "eureka")])
def test_a_fleet_that_is_well_is_left_alone(name: str) -> None:
    """No product here acts on nothing."""
    site = run(name, SmallSite(6), 0.5)

    assert (site.removed, site.launched, site.pages) == ([], [], [])


def test_azure_repairs_one_at_a_time_in_a_small_set() -> None:
    """Two of ten die: the second waits until the first one's replacement is healthy."""
    site = SmallSite(10)
    site.kill(DIES, 2)
    run("azure-vmss", site)

    first, second = (at for at, _ in site.removed)
    assert second - first >= site.boot


def test_azure_is_suspended_when_replacements_do_not_help() -> None:
    """From the death on nothing boots; after three failed replacements nothing more is tried, and people are told."""
    site = SmallSite(10, boot=1e9)
    site.kill(DIES, 1)
    run("azure-vmss", site, 3.0)

    assert len(site.launched) == 3
    assert [page.text for page in site.pages if page.urgent] == [
        "azure-vmss: Suspended, 3 replacements in a row never became healthy"
    ]


def test_a_large_zone_in_partial_disruption_is_evicted_slowly() -> None:
    """Most of a zone of 60 die: one node is tainted each 100 s, where it would be one each 10 s."""
    site = SmallSite(180)
    site.kill(DIES, 55, zone="a")
    run("k8s-node-lifecycle", site, 0.5)

    times = [at for at, _ in site.removed]
    assert 5 <= len(times) <= 10
    assert min(later - sooner for sooner, later in pairwise(times[1:])) >= 90


def test_a_small_zone_in_partial_disruption_is_not_evicted_at_all() -> None:
    """Four of five machines of a zone die: who is found first may go, before there are three; then nobody there does."""
    site = SmallSite(15)
    site.kill(DIES, 4, zone="a")
    run("k8s-node-lifecycle", site)

    assert len(site.removed) <= 1


def test_a_single_zone_that_is_wholly_down_is_evicted_at_the_normal_pace() -> None:
    """All five of one zone die: they are evicted, ten seconds apart."""
    site = SmallSite(15)
    site.kill(DIES, 5, zone="a")
    run("k8s-node-lifecycle", site)

    assert len([who for _, who in site.removed if who.startswith("i-")]) == 5


def test_timers_start_afresh_when_all_zones_come_back() -> None:
    """All go, and come back after a quarter of an hour: nobody was evicted, then or later."""
    site = SmallSite(9)
    site.kill(DIES, 9)
    site.revive(DIES + 900)
    run("k8s-node-lifecycle", site)

    assert site.removed == []


def test_karpenter_launches_before_it_removes() -> None:
    """The old machine goes when the new one serves."""
    site = SmallSite(6)
    site.kill(DIES, 1)
    run("karpenter", site)

    assert site.removed[0][0] >= site.launched[0] + site.boot


def test_a_stopped_machine_of_a_cloud_group_is_replaced_at_its_next_look() -> None:
    """An ASG looks at EC2's states each minute."""
    site = SmallSite(6)

    def stop() -> None:
        site.boxes["i-002"].state = MachineState.STOPPED

    site.clockwork.at(DIES + 1, stop)
    run("aws-asg", site, 0.4)

    assert site.removed == [(DIES + 60, "i-002")]


def test_an_impaired_machine_waits_for_a_few_minutes() -> None:
    """EC2 calls it impaired, and the balancer finds nothing: an ASG replaces it at the third look."""
    site = SmallSite(6)

    def impair() -> None:
        site.boxes["i-002"].impaired = "instance reachability"

    site.clockwork.at(DIES + 1, impair)
    run("aws-asg", site, 0.4)

    assert site.removed == [(DIES + 180, "i-002")]


def test_only_the_naive_believe_an_empty_list() -> None:
    """The cloud once lists nothing at all."""
    launched = {}
    for name in ("naive", "aws-asg", "karpenter"):
        site = SmallSite(6)
        site.clockwork.at(DIES - 1, lambda site=site: setattr(site, "lists_nothing", True))  # type: ignore[misc]
        site.clockwork.at(DIES + 61, lambda site=site: setattr(site, "lists_nothing", False))  # type: ignore[misc]
        launched[name] = len(run(name, site, 0.5).launched)

    assert launched["naive"] >= 6
    assert (launched["aws-asg"], launched["karpenter"]) == (0, 0)


def test_a_launch_that_is_refused_is_tried_again_later() -> None:
    """No capacity for ten minutes: the machine comes when there is some."""
    site = SmallSite(6, refuses=Refused("no capacity", capacity=True))
    site.kill(DIES, 1)
    site.clockwork.at(DIES + 600, lambda: setattr(site, "refuses", None))
    run("naive", site, 0.5)

    assert len(site.launched) == 1
    assert DIES + 600 <= site.launched[0] <= DIES + 640


def test_envoy_ejects_a_tenth_at_most_and_for_longer_each_time() -> None:
    """Three of twenty die: two are out at once at most, nobody is replaced."""
    site = SmallSite(20)
    site.kill(DIES, 3)
    run("envoy-outlier", site, 0.25)

    assert (site.removed, site.launched) == ([], [])
    assert sum(not box.registered for box in site.boxes.values()) <= 2
    assert site.withdrawn[0][0] == pytest.approx(DIES + 5, abs=2)


@pytest.mark.parametrize(
    ("dead", "expired"), [pytest.param(1, 1, id="one of ten"), pytest.param(3, 0, id="three of ten")]
)
def test_eureka_preserves_itself(dead: int, expired: int) -> None:
    """Below 85 % of the renewals nobody is expired."""
    site = SmallSite(10)
    site.kill(DIES, dead)
    run("eureka", site, 0.5)

    assert len(site.withdrawn) == expired


def test_an_operator_can_pause_what_can_be_paused() -> None:
    """An ASG's processes can be suspended; a MIG as it stands knows no such thing."""
    for name, removed in (("aws-asg", 0), ("gcp-mig", 1)):
        site = SmallSite(6)
        site.kill(DIES, 1)
        healer = BASELINES[name]()
        site.clockwork.at(DIES - 1, lambda healer=healer: healer.operator("pause", "", 7200.0))  # type: ignore[misc]
        site.run(healer, 1800.0)

        assert len(site.removed) == removed
