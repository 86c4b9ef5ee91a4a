"""The API held to its description by Schemathesis: whatever the description allows, or nearly allows, is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from supervisor.core.terms import AccessRole, Mode
from supervisor.store import AuditFile, SqliteStore
from supervisor.surfaces.access import Rules, Token, digest, new_token
from tests import stages
from tests.surfaces.front import Front, journal, serving

pytestmark = [pytest.mark.acceptance, pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis")]

SETTINGS = stages.settings()
RECORDS = journal(SETTINGS, mode=Mode.OBSERVE)
TOKEN = new_token("all", AccessRole.ADMIN)[0]
RULES = Rules(tokens=(Token("all", AccessRole.ADMIN, digest(TOKEN)),))
CHECKS: list[Callable[..., Any]] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 4  # of each path, with data that fits and with data that does not
ENDLESS = "/api/v1/events"


async def test_no_request_leaves_what_is_described(tmp_path: Path) -> None:
    """Every path with an admin's token: each answer has a described status, type and shape, and none is a failure."""
    store = SqliteStore(tmp_path / "state.db")
    store.commit(RECORDS, [])
    log = AuditFile(tmp_path / "state.db")
    async with serving(Front(RECORDS, SETTINGS, RULES, log, store), tmp_path) as front:
        url = f"http://127.0.0.1:{front.port}"
        async with aiohttp.ClientSession() as web, web.get(f"{url}/api/v1/openapi.json") as answer:
            document = await answer.json()
        assert document["paths"].pop(ENDLESS)
        tried = await asyncio.to_thread(try_all, document, url)

    store.close()
    assert [] == log.verify()["broken"]
    assert len(document["paths"]) <= len(tried)
    assert front.asked  # some of it reached the engine


def try_all(document: dict[str, Any], url: str) -> list[str]:
    """Send what Hypothesis makes of each operation; return their names."""
    schema = schemathesis.openapi.from_dict(document)
    tried = []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        send(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), url)
        with contextlib.suppress(Unsatisfiable):  # any text is a name: where there is nothing else, nothing is wrong
            send(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), url)
        tried.append(operation.label)
    return tried


def send(cases: Any, url: str) -> None:  # Any: Schemathesis' own strategy
    """Send some cases, and hold each answer to the description."""

    @given(cases)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    def holds(case: Any) -> None:
        case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS)

    holds()
