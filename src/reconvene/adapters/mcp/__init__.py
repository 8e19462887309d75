"""The Model Context Protocol: our tools, and sessions, for other people's agents."""
