"""Elements that are picked, rearranged or resized in C."""
