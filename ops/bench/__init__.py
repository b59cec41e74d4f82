"""Measuring the service on the machine at hand."""
