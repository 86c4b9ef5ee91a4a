"""`make demo-ec2`, as somebody runs it who wants to see what would happen on AWS."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]


def test_the_demo_on_aws_ends_healed_and_leaves_nothing_behind() -> None:
    """Exit code 0, the story on the terminal, and no folder afterwards."""
    with tempfile.TemporaryDirectory() as folder:  # short: a socket's path is
        done = subprocess.run(
            [sys.executable, "-m", "tests.standins.aws.demo", "--once"],
            capture_output=True, text=True, timeout=150, check=False, env={**os.environ, "TMPDIR": folder},
        )  # fmt: skip
        left = list(Path(folder).iterdir())

    assert 0 == done.returncode, done.stdout + done.stderr
    assert ">>> breaking i-" in done.stdout
    assert "was replaced by" in done.stdout
    assert "termination protection on, snapshots of its volume: 1" in done.stdout
    assert [] == left
