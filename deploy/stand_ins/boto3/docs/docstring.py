"""Docstrings of resources, which are not used."""

from botocore.docs.docstring import Docstring as ActionDocstring

__all__ = ["ActionDocstring"]
