"""A code base on disk: the path jail, listing, reading, fingerprints. Everything here blocks; nothing leaves the root."""

from reconvene.workspace.listing import FileStat, Listing
from reconvene.workspace.names import display_path, parse_path
from reconvene.workspace.reading import FileSlice, blob_id, decode_text
from reconvene.workspace.roots import Roots
from reconvene.workspace.secret_files import is_secret
from reconvene.workspace.workspace import Workspace

__all__ = [
    "FileSlice",
    "FileStat",
    "Listing",
    "Roots",
    "Workspace",
    "blob_id",
    "decode_text",
    "display_path",
    "is_secret",
    "parse_path",
]
