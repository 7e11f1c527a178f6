"""Functions of one variable in C."""
