"""What Sickbay is compared with: the healing of well-known products, each as a small policy at the same desk."""

from __future__ import annotations

from supervisor.sim.exam.baselines.aws_asg import AwsAsg
from supervisor.sim.exam.baselines.azure_vmss import AzureVmss
from supervisor.sim.exam.baselines.capi_mhc import CapiMhc, CapiMhc40
from supervisor.sim.exam.baselines.envoy_outlier import EnvoyOutlier
from supervisor.sim.exam.baselines.eureka import Eureka
from supervisor.sim.exam.baselines.gcp_mig import GcpMig
from supervisor.sim.exam.baselines.k8s_lifecycle import K8sLifecycle
from supervisor.sim.exam.baselines.karpenter import Karpenter
from supervisor.sim.exam.baselines.medik8s_nhc import Medik8sNhc
from supervisor.sim.exam.baselines.naive import Naive
from supervisor.sim.exam.baselines.policy import Baseline

BASELINES: dict[str, type[Baseline]] = {
    made.name: made
    for made in (
        Naive,
        AwsAsg,
        GcpMig,
        AzureVmss,
        CapiMhc,
        CapiMhc40,
        Medik8sNhc,
        K8sLifecycle,
        Karpenter,
        EnvoyOutlier,
        Eureka,
    )
}
"""Every baseline, by its name."""

REPLACING = tuple(name for name in BASELINES if name not in (EnvoyOutlier.name, Eureka.name))
"""Those that heal: the others only take machines out of the routing."""

__all__ = ["BASELINES", "REPLACING", "Baseline"]
