"""A job directory -> SavedModel; a SavedModel -> answers over gRPC."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC reads it when it is imported
