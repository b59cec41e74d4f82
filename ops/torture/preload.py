"""Imported once by the process that all servers of a campaign are forked from: the slow part of starting one."""

from server.main import load_lists

load_lists()
