"""What a backbone takes over from the one that it goes on from: weights, kernels, memory."""
