"""The check `image_drift`."""

from supervisor.api import CheckResult, Instance, PassiveCheck, Report


class ImageDriftCheck(PassiveCheck, kind="image_drift"):
    """Whether the machine runs the image that its fleet would be launched from now.

    An older one is a WARNING, which condemns nobody: give it the role `advisory`. Nothing is known while the fleet has no
    image that has served, or the machine does not say which one it runs.
    """

    def judge(self, instance: Instance, report: Report) -> CheckResult:
        """Compare."""
        if not report.image or not instance.image:
            whose = "the fleet's" if instance.image else "the machine's"
            return CheckResult.unknown(f"{whose} image is not known")
        runs = _named(instance.image, instance.version)
        if instance.image == report.image:
            return CheckResult.ok(f"runs {runs}")
        return CheckResult.warning(f"runs {runs}, the fleet's image is {_named(report.image, report.version or '')}")


def _named(image: str, version: str) -> str:
    return f"{image} ({version})" if version else image
