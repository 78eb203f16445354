"""A kind of feature and a body that live outside the recommender's own code."""
