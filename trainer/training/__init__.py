"""Pre-training of the backbone and fine-tuning of kernels."""

import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
