"""Watchword lists and the matcher that finds them in a text, through its disguises. A pure library."""
