"""A job directory -> SavedModel; a SavedModel -> answers over gRPC."""

from configs.quiet import import_tensorflow_quietly

import_tensorflow_quietly()
