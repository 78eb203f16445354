"""A food-delivery marketplace with known true probabilities."""
