"""The ASGI application, for gunicorn and uvicorn: `gunicorn app:app`."""

from facesearch.bootstrap import make_app

app = make_app()
