"""Killing the service on purpose, and checking from outside what it promised."""
