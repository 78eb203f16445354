"""Backbone and kernels judged domain by domain, and which kernel is worth serving."""

import configs.tensorflow_import  # noqa: F401 - before any other import of TensorFlow
