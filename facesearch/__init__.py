"""facesearch finds known faces in photos: a self-hosted service over HTTP."""

__version__ = "0.1.0"
