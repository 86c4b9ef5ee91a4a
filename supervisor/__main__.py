"""`sickbay`, and `python -m supervisor`: sees that the import name is ours before the command line is imported.

Where another distribution has written its files among ours, and perhaps over them, importing the rest could be a
traceback instead of a sentence.
"""

import sys
from importlib import import_module

from supervisor.errors import PluginError
from supervisor.plugins import refuse_foreign_supervisor


def main() -> None:
    """Run the command line, or say in one sentence why not, and exit with 78."""
    try:
        refuse_foreign_supervisor()
    except PluginError as error:
        sys.stderr.write(f"sickbay: {error}\n")
        sys.exit(78)
    import_module("supervisor.cli").main()


if __name__ == "__main__":
    main()
