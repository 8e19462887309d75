"""`python -m bench`: one table of what the server costs, beside a floor measured in the same run.

The floor is the same web server (uvicorn, h11, its WebSocket implementation, no deflate) with a raw ASGI application that
sends the same frames, one event each, without a log. Figures are shown beside their targets and judged; they never fail a test.
"""
