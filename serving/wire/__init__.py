"""What both ends of the line share: messages, tensors, rows, errors, names. No TensorFlow."""
