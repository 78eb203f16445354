"""What the features and labels of a dataset look like, split by split, and what has changed."""
