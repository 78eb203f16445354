"""TensorFlow without its start-up noise: ``from configs.tensorflow_import import tf`` where
nothing has imported it yet.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["tf"]


@contextmanager
def _native_messages_held_back() -> Iterator[None]:
    """TensorFlow writes some lines to the stderr descriptor before it reads any log level, so the
    descriptor itself is turned aside.

    What it wrote is shown only where the import fails. Where the user sets
    ``TF_CPP_MIN_LOG_LEVEL=0``, nothing is held back.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(stderr, aside.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


with _native_messages_held_back():
    import tensorflow as tf
