"""Where a secret is kept. config.toml holds only the reference; the value is read when the daemon starts or reloads."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from supervisor.errors import ConfigError

LARGEST = 64 * 1024


class SecretRef(BaseModel):
    """`{ credential = "NAME" }` of systemd, `{ env = "NAME" }`, or `{ file = "/PATH" }`: exactly one of them."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={"oneOf": [{"required": [way]} for way in ("credential", "env", "file")]},
    )

    credential: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    """Name of a systemd credential (`LoadCredential=`)."""
    env: str | None = None
    """Name of an environment variable."""
    file: str | None = None
    """Path of a file that only its owner or group may read."""

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretRef:
        if sum(way is not None for way in (self.credential, self.env, self.file)) != 1:
            raise ValueError("expected exactly one of credential, env and file")
        return self

    def read(self, key: str) -> SecretStr:
        """Return the value. Raises `ConfigError` in one sentence that names the key and never the value."""
        if self.env is not None:
            found = os.environ.get(self.env)
            if not found:
                raise ConfigError(f"{key}: the environment variable {self.env} is not set; set it, or use a file")
            return SecretStr(found.strip())
        return _read(self.path(key), key)

    def path(self, key: str) -> Path:
        """Return where the value lies, which is not in a variable. Raises `ConfigError`."""
        if self.credential is not None:
            folder = os.environ.get("CREDENTIALS_DIRECTORY")
            if not folder:
                raise ConfigError(
                    f"{key}: systemd gave no credentials; add LoadCredential={self.credential}:/PATH to the unit"
                )
            return Path(folder) / self.credential
        return Path(self.file or "")


def _read(path: Path, key: str) -> SecretStr:
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IROTH:
                raise ConfigError(f"{key}: everyone may read {path}; run `chmod o-rwx {path}`")
            found = file.read(LARGEST).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{key}: {path} can't be read ({why}); put the secret there") from error
    if not found:
        raise ConfigError(f"{key}: {path} is empty; put the secret there")
    return SecretStr(found)
