"""A job directory -> SavedModel; a SavedModel -> answers over gRPC."""

import os

import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC reads it when it is imported
