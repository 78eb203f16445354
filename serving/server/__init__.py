"""The embedded model server: ``python -m serving.server``."""

import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
