"""Datasets -> backbone, kernels, metrics, reports."""

import os

from configs.quiet import import_tensorflow_quietly

# tensorflow-recommenders 0.7 refuses Keras 3 as tf.keras. Our own code says `import keras` (Keras 3) and never tf.keras.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import_tensorflow_quietly()
