"""Every page that the program writes, as it looks, of one small simulated run."""
