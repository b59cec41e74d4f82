"""Very many sockets in a process of their own, which cost little: what a crowd of people is to the server."""
