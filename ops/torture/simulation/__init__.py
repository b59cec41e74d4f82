"""Several servers, their database, their bus and their people in one thread and on one clock, driven by one seed."""
