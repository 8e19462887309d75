"""The durable log: one port (`port.py`), and what implements it."""
