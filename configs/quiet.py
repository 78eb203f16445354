"""TensorFlow's start-up noise, off."""

import os
import sys
import tempfile


def import_tensorflow_quietly() -> None:
    """Imports TensorFlow with its native start-up messages held back; they are shown only where the import fails.

    TensorFlow writes some lines to the stderr descriptor before it reads any log level, so the descriptor itself is turned aside.
    Where the user sets ``TF_CPP_MIN_LOG_LEVEL=0``, nothing is held back.
    """
    if "tensorflow" in sys.modules or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            aside.seek(0)
            os.write(stderr, aside.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
