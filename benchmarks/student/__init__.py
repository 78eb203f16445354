"""Students against the teacher that taught them: figures of a split, sizes, and rows a second."""
