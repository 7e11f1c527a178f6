"""Charts as inline SVG. Colours are classes, so that one drawing serves light and dark pages."""
