"""Does what we give a model help it? Questions whose answers a program knows, three arms, one fixed model. `make eval` runs it."""
