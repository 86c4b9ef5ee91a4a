"""Where secrets come from, and each way in which they can be missing: one sentence that never holds the secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from supervisor.config.secrets import SecretRef
from supervisor.errors import ConfigError


def test_a_secret_is_read_from_where_the_reference_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential of systemd, a variable, a file: the same value, without the line end, and hidden when shown."""
    for name in ("credential", "file"):
        (tmp_path / name).write_text("CANARY\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("A_TOKEN", "CANARY")

    for ref in (SecretRef(credential="credential"), SecretRef(env="A_TOKEN"), SecretRef(file=str(tmp_path / "file"))):
        found = ref.read("key")
        assert "CANARY" == found.get_secret_value()
        assert "CANARY" not in repr(found)


WRONG = {
    "an environment variable that is not set": ({"env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE is not set"),
    "a credential without systemd": ({"credential": "slack"}, "add LoadCredential=slack:"),
    "a file that is not there": ({"file": "{}/none"}, "can't be read (No such file or directory)"),
    "an empty file": ({"file": "{}/empty"}, "is empty; put the secret there"),
    "a file that everyone may read": ({"file": "{}/open"}, "run `chmod o-rwx"),
    "a file that is no text": ({"file": "{}/binary"}, "it is no text"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_missing_secret_is_one_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the key and the remedy, and never the value."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    for file, content, mode in (("empty", b"\n", 0o600), ("open", b"CANARY", 0o644), ("binary", b"\xff\xfe", 0o600)):
        (tmp_path / file).write_bytes(content)
        (tmp_path / file).chmod(mode)
    fields, expected = WRONG[name]

    with pytest.raises(ConfigError) as caught:
        SecretRef(**{k: v.format(tmp_path) for k, v in fields.items()}).read("config.toml: [chat.slack] token")

    assert str(caught.value).startswith("config.toml: [chat.slack] token: ")
    assert expected in str(caught.value)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("fields", [{}, {"env": "A", "file": "/b"}], ids=["none", "two"])
def test_exactly_one_way_is_expected(fields: dict[str, str]) -> None:
    """Nobody should have to guess which of two counts."""
    with pytest.raises(ValidationError, match="exactly one of credential, env and file"):
        SecretRef(**fields)
