"""Datasets -> backbone, kernels, metrics, reports."""

import os

# tensorflow-recommenders 0.7 refuses Keras 3 as tf.keras. Our own code says `import keras` (Keras
# 3) and never tf.keras.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
