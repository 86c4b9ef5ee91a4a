"""For every test: quiet logs, Hypothesis without deadlines (machines are noisy), and who runs beside whom."""

import logging

import pytest
import structlog
from hypothesis import HealthCheck, settings

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
settings.register_profile("sickbay", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("sickbay")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's acceptance tests on one worker: they share processes. All others go wherever there is time.

    For `--dist loadgroup`, which begins with the largest files and fills up with single tests at the end.
    """
    for item in items:
        if item.get_closest_marker("acceptance") and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
