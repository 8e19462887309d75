"""The ASGI application and the process around it: gate, WebSocket, HTTP API, the page's files, start and stop."""
