"""Errors a user can cause. Every command prints their one line on stderr and exits with code 2."""


class InputError(Exception):
    """Bad input: says what was wrong, where, what was expected and what was received, in one
    line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class ConfigError(InputError):
    """An experiment file (or a ``--set`` override) that does not describe a valid experiment."""
