"""Silences what Beam and TensorFlow say on their own."""

import logging


def keep_quiet() -> None:
    """Errors come to the command as exceptions; logging them as well would print each several
    times, with traces.
    """
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # which calls it means to rename
    for name in (
        "apache_beam.runners.common",
        "apache_beam.runners.worker",
        "apache_beam.runners.portability",
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)
