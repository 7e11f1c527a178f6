"""Which tensor has which fixed-point format."""
