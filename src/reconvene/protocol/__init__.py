"""The wire: every frame and event as a pydantic model, strict parsing, folding and projection. Pure: no I/O."""
