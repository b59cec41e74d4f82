"""Clocks that jump under load, and the two nights in which wall clocks are set."""
