"""A model made ready to run on inputs of known shapes."""
