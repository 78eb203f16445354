"""The HTTP port: models, predictions and metrics for peers that do not speak gRPC."""
