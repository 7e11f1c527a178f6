"""Titles of the panels that `--help` groups options in."""

INPUTS = "Inputs and outputs"
PREPROCESSING = "Preprocessing of pictures"
FIXED_POINT = "Fixed point"
CHOICE = "How formats are chosen"
RUN = "Run"
