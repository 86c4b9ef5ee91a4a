"""The check `composite`: three-valued, because what is not known may be either."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from supervisor.api import CheckReport, CheckResult, PassiveCheck, Report, Status
from supervisor.plugins import discover
from supervisor.testing import instance

KIND = discover().checks["composite"].cls

SAID = {
    "o": CheckReport(Status.OK, 1.0, fresh=True, text="fine"),
    "w": CheckReport(Status.WARNING, 1.0, fresh=True, text="worn"),
    "c": CheckReport(Status.CRITICAL, 1.0, fresh=True, text="bad"),
    "s": CheckReport(Status.CRITICAL, 1.0, fresh=True, silent=True, text="no answer"),
    "u": CheckReport(Status.UNKNOWN, 1.0, fresh=True, text="who knows"),
    "x": CheckReport(Status.CRITICAL, 99.0, fresh=False, text="bad"),  # stale
}
"""One letter for each answer; "-" is a check that has not answered yet."""


def judge(options: dict[str, object], said: str) -> CheckResult:
    """Judge members a, b, c, … which said so."""
    check = KIND.model_validate(options)
    assert isinstance(check, PassiveCheck)
    return check.judge(
        instance(), Report(checks={n: SAID[word] for n, word in zip("abc", said, strict=False) if word in SAID})
    )


ALL: dict[str, object] = {"all": ["a", "b", "c"]}
ANY: dict[str, object] = {"any": ["a", "b", "c"]}
TWO: dict[str, object] = ANY | {"at_least": 2}

OK, WARNING, CRITICAL, UNKNOWN = Status.OK, Status.WARNING, Status.CRITICAL, Status.UNKNOWN

TABLE: dict[tuple[str, str], Status] = {
    ("all", "ooo"): OK,
    ("all", "oow"): WARNING,
    ("all", "ooc"): CRITICAL,
    ("all", "ouc"): CRITICAL,  # one that fails decides, whatever the others are
    ("all", "oou"): UNKNOWN,
    ("all", "oox"): UNKNOWN,
    ("all", "oo-"): UNKNOWN,
    ("all", "uuu"): UNKNOWN,
    ("all", "wwu"): UNKNOWN,
    ("any", "occ"): OK,  # one that passes decides
    ("any", "ouu"): OK,
    ("any", "wcc"): WARNING,
    ("any", "woc"): OK,
    ("any", "ccc"): CRITICAL,
    ("any", "ccs"): CRITICAL,
    ("any", "ccu"): UNKNOWN,
    ("any", "ccx"): UNKNOWN,
    ("any", "cc-"): UNKNOWN,
    ("two", "ooc"): OK,
    ("two", "oou"): OK,
    ("two", "owc"): WARNING,
    ("two", "ouc"): UNKNOWN,
    ("two", "occ"): CRITICAL,
    ("two", "ucc"): CRITICAL,
    ("two", "uuc"): UNKNOWN,
}


@pytest.mark.parametrize("row", TABLE, ids=" ".join)
def test_what_is_certain_decides(row: tuple[str, str]) -> None:
    """And what is not known decides nothing."""
    which, said = row

    assert TABLE[row] is judge({"all": ALL, "any": ANY, "two": TWO}[which], said).status


SILENCE = {"ss": True, "sc": False, "so": True, "sw": True, "su": True, "sx": True, "cc": False}


@pytest.mark.parametrize("said", SILENCE)
def test_it_is_silent_when_all_that_fail_are(said: str) -> None:
    """Silence alone never condemns, under whatever name."""
    result = judge({"all": ["a", "b"]}, said)

    assert (CRITICAL, SILENCE[said]) == (result.status, result.silent)


def test_it_tells_who_fails_and_what_is_not_known() -> None:
    """In the members' own words."""
    assert "1 of 3 pass, 3 must; b: bad; c: no answer" == judge(ALL, "ocs").text
    assert "1 of 3 pass, 2 must; not known: b" == judge(TWO, "ouc").text
    assert "1 of 3 pass; a warning of a" == judge(ANY, "wcc").text
    assert "3 of 3 pass" == judge(ALL, "ooo").text


WRONG: dict[str, dict[str, object]] = {
    "neither": {},
    "both": {"all": ["a"], "any": ["b"]},
    "more than there are": {"any": ["a", "b"], "at_least": 3},
    "a count of all": {"all": ["a", "b"], "at_least": 2},
    "nobody": {"all": [], "any": []},
    "one twice": {"all": ["a", "a"]},
}


@pytest.mark.parametrize("row", WRONG)
def test_a_mistake_is_told_at_the_start(row: str) -> None:
    """It would be a check that can't fail, or that can't pass."""
    with pytest.raises(ValidationError):
        KIND.model_validate(WRONG[row])
