"""A code base that is small enough to know by heart."""

HUB = """\
class Hub:
    def sweep(self, now):
        \'\'\'Remove idle sessions.\'\'\'
        return [s for s in self.sessions if s.idle(now)]
"""
SESSION = """\
class Session:
    def idle(self, now):
        return now - self.last_active > 3600
"""
FILES = {"src/hub.py": HUB, "src/session.py": SESSION, "README.md": "# Example\n\nA hub of sessions.\n"}
