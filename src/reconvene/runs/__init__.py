"""One prompt's execution: the journal that makes it durable, its attempts, and the supervisor that starts and recovers runs."""
