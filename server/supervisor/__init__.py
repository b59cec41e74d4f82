"""The parent of a worker: it holds the port, listens for the worker's heartbeat, and looks at what is overdue.

It imports the standard library and little else (about 14 MB on SQLite), so that whatever goes wrong with the service
does not go wrong with what watches it.
"""
