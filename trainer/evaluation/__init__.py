"""Backbone and kernels judged domain by domain, and which kernel is worth serving."""
