"""The one feature transform: fitted once, applied by Beam, embedded in the served model."""
