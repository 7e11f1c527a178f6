"""Structure-aware fuzzing: damaged models, feeds and files, each run in a process that may die.

Every case follows from a seed and a number alone, so that a failure is repeated by its number. A case is right if it
ends in time with a result or with one `QEngineError` of one line. See `tests/fuzz.py` for the command.
"""
