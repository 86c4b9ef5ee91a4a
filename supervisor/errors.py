"""Every error Sickbay raises on purpose, drawn as a tree.

    SickbayError
    ├── ConfigError         config.toml is wrong: file, line, key, found, expected, remedy
    ├── PluginError         a check, remediation or provider can't be loaded
    ├── StateError          the state file can't be used
    │   ├── StateBusy       another daemon holds it
    │   ├── StateDamaged    it fails its integrity check
    │   ├── StateNewer      a newer Sickbay wrote it
    │   └── CommitFailed    a commit was refused: nothing of it is on disk
    ├── ListenError         an address to listen on can't be taken
    ├── ProviderError       a cloud or an image can't be used as configured
    │   └── CloudSilent     a cloud did not answer: another try may help
    ├── DaemonUnreachable   no daemon answers on its socket
    └── OperatorError       an operator's request can't be carried out

Messages say what was found, what was expected and what to do. Only `cli.py` turns them into exit codes.
"""


class SickbayError(Exception):
    """Something a person can understand and mend."""


class ConfigError(SickbayError):
    """The configuration can't be used."""


class PluginError(SickbayError):
    """A plugin can't be loaded."""


class StateError(SickbayError):
    """The state file can't be used."""


class StateBusy(StateError):
    """Another daemon holds the state file."""


class StateDamaged(StateError):
    """The state file fails its integrity check. It is never recreated by itself."""


class StateNewer(StateError):
    """A newer version of Sickbay wrote the state file."""


class CommitFailed(StateError):
    """A commit was refused, and nothing of it is on disk.

    `ambiguous` means that nobody can say whether it is: the only safe answer is to exit and load afresh.
    """

    def __init__(self, message: str, *, ambiguous: bool = False) -> None:
        """Keep whether the outcome is known."""
        super().__init__(message)
        self.ambiguous = ambiguous


class ListenError(SickbayError):
    """An address to listen on can't be taken."""


class ProviderError(SickbayError):
    """A cloud or an image can't be used as configured."""


class CloudSilent(ProviderError):
    """A cloud did not answer, or could not: nothing is wrong with what was asked."""


class DaemonUnreachable(SickbayError):
    """No daemon answers on its socket."""


class OperatorError(SickbayError):
    """An operator's request can't be carried out as it stands."""
