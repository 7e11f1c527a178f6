"""A network as C99 that computes the codes of the runtime."""
