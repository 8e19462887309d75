"""A question about a code base to ranked snippets of it, and what a session remembers of its searches."""

from reconvene.search.answer import search
from reconvene.search.context import Found, SearchContext, lookup_or_search
from reconvene.search.places import LINES
from reconvene.search.result import SearchResult, Snippet

__all__ = ["LINES", "Found", "SearchContext", "SearchResult", "Snippet", "lookup_or_search", "search"]
