"""Holds the Keras layers of the backbone; their registered names are part of every saved model."""
