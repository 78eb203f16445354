"""Silences what Beam says on its own."""

import logging


def keep_quiet() -> None:
    """Errors come to the command as exceptions; logging them as well would print each several
    times, with traces.
    """
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    for name in (
        "apache_beam.runners.common",
        "apache_beam.runners.worker",
        "apache_beam.runners.portability",
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)
