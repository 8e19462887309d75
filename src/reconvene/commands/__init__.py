"""Programs that an agent runs with the person's leave: a sandbox around them, and a supervisor that outlives the server.

Standard library only: the supervisor's process imports nothing else, so it starts in some 20 ms and needs no more than 10 MB.
"""
