"""The agents: the orchestrator with its tools and prompts, the models it can speak to, and the offline model."""
