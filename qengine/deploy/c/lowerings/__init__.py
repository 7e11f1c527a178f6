"""The lowerings of each kind of step to calls of kernels in C, one family a file."""
