"""The parent of the workers: it holds the port, listens for their heartbeats, and looks at what is overdue.

It imports the standard library and little else (about 14 MB on SQLite), so that whatever goes wrong with the service
does not go wrong with what watches it.
"""
