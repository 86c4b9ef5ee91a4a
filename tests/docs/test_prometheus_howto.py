"""The how-to for Prometheus and Alertmanager: Alertmanager itself reads what the page says to write."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "prometheus-and-alertmanager.md"


@pytest.mark.acceptance
def test_alertmanager_understands_its_part(tmp_path: Path) -> None:
    """As it stands on the page."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "alertmanager.yml").write_text(block)
    checked = subprocess.run(
        ["amtool", "check-config", tmp_path / "alertmanager.yml"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert 0 == checked.returncode, checked.stdout + checked.stderr
    assert "1 receivers" in checked.stdout
