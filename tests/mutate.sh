#!/usr/bin/env bash
# Mutation testing of the files that decide bits: `bash tests/mutate.sh [--sample N] [FILE ...]`.
# One line of a file is changed at a time, and the tests of that file must fail. See tests/mutate.py.
set -euo pipefail
cd "$(dirname "$0")/.."
# One thread each: a child is forked for every mutant, and threads do not survive a fork.
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 QENGINE_ISA=reference
exec python tests/mutate.py "$@"
