"""The same tests on comparable servers, side by side: `make bench-peers`."""
