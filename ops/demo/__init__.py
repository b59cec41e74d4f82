"""The whole service on one machine with invented people: what `evenkeel demo` starts."""
