"""The log in PostgreSQL, for several nodes. Needs the extra `postgres`; `docs/explanation/scale.md` tells how it works."""

from reconvene.log.postgres.log import PostgresLog

__all__ = ["PostgresLog"]
