"""AG-UI: front ends of others on the same sessions."""
