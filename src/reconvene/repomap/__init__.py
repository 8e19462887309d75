"""A code base at a glance: an overview, or a map for a question, in rank order and within a budget of tokens."""

from reconvene.repomap.map import MapRow, RepoMap, repo_map

__all__ = ["MapRow", "RepoMap", "repo_map"]
