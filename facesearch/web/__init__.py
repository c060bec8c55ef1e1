"""Thin HTTP around `API`."""

from facesearch.web.app import Application, create_app

__all__ = ["Application", "create_app"]
