"""The definition of every kernel in plain NumPy: what each bit means.

Fixed-point kernels take integer codes and return integer codes. They are exact: every intermediate sum
is the integer that unbounded arithmetic would give, on any CPU and with any number of threads.
"""
