"""How each kind of step becomes calls of kernels in C, one family a file."""
