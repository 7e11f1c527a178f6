"""Plans: a graph bound to kernels for inputs of known shapes."""
