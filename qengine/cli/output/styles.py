"""Colours of the output, one for each meaning.

A terminal is light or dark, and its sixteen basic colours are those of its theme: yellow is lost on
white, blue on black. The colours here come from the fixed palette of 256, and each has a contrast of at least 3.5 to 1
with white and with black, and with the backgrounds of Solarized. Rich maps them to the nearest basic colour where a
terminal has no more, and leaves colours out for NO_COLOR, TERM=dumb and files; no meaning has a colour alone.
"""

GOOD = "color(64)"
"""What is right, and what to try."""

WARN = "color(166)"
"""Notes, and what is not as it might be."""

BAD = "color(196)"
"""What is wrong."""

QUIET = "dim"
"""What can be passed over: headings, explanations."""

TITLE = "bold"
"""The first line."""
