"""For programs: sessions of a server, followed through every cut, in async and in plain Python."""
