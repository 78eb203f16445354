"""What both ends of the line share: tensors, rows, errors, signature names. No TensorFlow
runtime.
"""
