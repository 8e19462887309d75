"""Sessions: their state folded from events, what people can do to them, and the sweeper."""
