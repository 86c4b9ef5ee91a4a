"""What a fleet is launched from is resolved before anything runs; a cloud that is silent is taken by its last word."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.cli.base import exit_code
from supervisor.config import Config
from supervisor.core.machine import Offer, Placement
from supervisor.core.model import Offering
from supervisor.daemon import read_config, resolved
from supervisor.errors import CloudSilent, ProviderError

CONFIG = """\
[supervisor]
state = "sqlite:///./state.db"

[fleet.web]
provider = "ec2"
desired = 2
version = "1.0.0"

[fleet.web.ec2]
region = "eu-central-1"
launch_template = "lt-0123456789abcdef0"
subnets = ["subnet-0123456789abcdef0"]
isolation_group = "sg-0123456789abcdef0"
"""
OFFER = Offer(
    "ami-1",
    "1.0.0",
    (("template", "lt-0123456789abcdef0"), ("template_version", "7")),
    (Placement("eu-central-1a", (("subnet", "subnet-0123456789abcdef0"),)),),
)
AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Says:
    """A cloud that offers, or says why it doesn't."""

    offers: Offer | ProviderError

    async def offer(self) -> Offer:
        """Offer."""
        if isinstance(self.offers, ProviderError):
            raise self.offers
        return self.offers


SILENT = Says(CloudSilent("AWS does not answer (ReadTimeoutError)"))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a configuration with one fleet on AWS; nobody is asked for it."""
    (tmp_path / "config.toml").write_text(CONFIG)
    return read_config(tmp_path / "config.toml")[0]


async def test_the_cloud_is_asked_once_for_what_the_file_cannot_say(config: Config) -> None:
    """Image, template version and zones come from the offer; the rest from the file."""
    assert ("", ()) == (config.settings.fleets["web"].image, config.settings.fleets["web"].zones)
    policy = (await resolved(config, {"web": Says(OFFER)}, {})).fleets["web"]  # type: ignore[dict-item]  # offers only

    assert ("ami-1", ("eu-central-1a",), OFFER) == (policy.image, policy.zones, policy.offer)


async def test_a_silent_cloud_is_taken_by_its_last_word(config: Config) -> None:
    """So a restart during an outage of AWS watches and judges as before."""
    kept = {"web": Offering("web", config.settings.fleets["web"].terms, OFFER, AT)}
    policy = (await resolved(config, {"web": SILENT}, kept)).fleets["web"]  # type: ignore[dict-item]  # offers only

    assert policy.offer == OFFER


async def test_a_silent_cloud_may_be_asked_again_a_wrong_configuration_may_not(config: Config) -> None:
    """The first ends in an exit code after which systemd starts it anew; the second in one after which it doesn't."""
    wrong = Says(ProviderError("lt-0123456789abcdef0 has no version 9"))
    with pytest.raises(CloudSilent) as silent:
        await resolved(config, {"web": SILENT}, {})  # type: ignore[dict-item]  # offers only
    with pytest.raises(ProviderError) as refused:
        await resolved(config, {"web": wrong}, {})  # type: ignore[dict-item]  # offers only

    assert (69, 78) == (exit_code(silent.value), exit_code(refused.value))


@pytest.mark.parametrize("terms", [None, "ec2 2.0.0 {}"], ids=["never asked", "asked with another file"])
async def test_without_a_last_word_it_says_why_it_cannot_start(config: Config, terms: str | None) -> None:
    """One sentence with file and fleet; an offer to another configuration is no answer to this one."""
    kept = {"web": Offering("web", terms, OFFER, AT)} if terms else {}
    with pytest.raises(CloudSilent, match=r"config\.toml: fleet web: AWS does not answer"):
        await resolved(config, {"web": SILENT}, kept)  # type: ignore[dict-item]  # offers only
