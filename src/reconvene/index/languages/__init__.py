"""The languages: one small file each, with the names of its files and the patterns of its definitions. Found by `registry`."""
