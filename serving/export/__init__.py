"""A job directory -> one version of a SavedModel: ``python -m serving.export``."""

import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
