"""A job directory -> SavedModel; a SavedModel -> answers over gRPC."""

import os

from configs.quiet import import_tensorflow_quietly

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC reads it when it is imported
import_tensorflow_quietly()
