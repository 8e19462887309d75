"""The Agent Client Protocol: editors as clients of our sessions."""
