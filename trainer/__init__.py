"""Datasets -> backbone, kernels, metrics, reports."""

import os

# tensorflow-recommenders 0.7 refuses Keras 3 as tf.keras. Our own code says `import keras` (Keras
# 3) and never tf.keras. TensorFlow itself is imported where something computes
# (configs.tensorflow_import), so that commands which compute nothing answer at once.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
