"""The service beside others: what is needed to drive it with the fan-out yardstick, and to compare."""
