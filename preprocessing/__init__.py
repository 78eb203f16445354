"""Logs -> datasets, by Apache Beam; and the one feature transform."""

from configs.quiet import import_tensorflow_quietly

import_tensorflow_quietly()
