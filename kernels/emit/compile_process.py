"""A process that compiles: it reads specifications from standard input and writes object code to standard output.

`kernels.compile_batch` starts such processes and talks to them. A request is a pickle of a specification and an
instruction set; the answer is the kernel's symbol and its object file. The process ends when its input ends, or with an
error, which it does not answer.
"""

import os
import pickle
import sys

from ..compile_batch import answer_of
from .compile_kernel import compile_kernel


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing else that is printed may come between the answers
    while True:
        try:
            spec, isa = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answers.write(answer_of(compile_kernel(spec, isa)))
        answers.flush()
