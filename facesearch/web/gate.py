"""Who may do what: asked before anything else of a request is looked at."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facesearch.errors import (
    CollectionNotAllowed,
    FacesearchError,
    KeyMissing,
    ScopeNotAllowed,
)
from facesearch.interfaces import API
from facesearch.records import LOCAL, SCOPES, Caller, Deed
from facesearch.web.callers import CALLER, collection_of, is_restricted, noted
from facesearch.web.envelope import HTTP_SENTENCES, V1, answer_to, failed
from facesearch.web.key_form import FORM_PATH, key_in_form
from facesearch.web.key_headers import key_of
from facesearch.web.local import check_local
from facesearch.web.observed import route_of

HEALTH = frozenset({"/healthz", "/readyz"})

READ, WRITE, ADMIN = "read", "write", "admin"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# They take a photo, a form or a vector, and change nothing.
_READING_POSTS = re.compile(
    rf"/search_faces|{FORM_PATH}|/v1/(?:detect|compare|search|search/vector|faces/[^/]+/search)"
)
_COLLECTIONS = re.compile(r"/v1/collections(?:/.*)?", re.DOTALL)


class Gate:
    """ASGI middleware: lets those pass who may do what they ask for, before the body is read.

    While no key was ever made, that is programs on this computer; then whoever has a key with the scope. What
    is not known to be harmless needs `write`, or `admin` where it makes or deletes collections, and leaves an
    entry in the audit log before it is answered. A key that is for one collection is good for no other.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # the service has none
            return
        if scope["type"] != "http" or route_path(scope) in HEALTH:
            await self._app(scope, receive, send)
            return
        try:
            caller, receive = await _admitted(scope, receive)
        except FacesearchError as error:
            await answer_to(error, scope["path"])(scope, receive, send)
            return
        except TimeoutError:
            await failed(408, "http_408", HTTP_SENTENCES[408], scope["path"])(scope, receive, send)
            return
        scope[CALLER] = caller
        needed = needed_scope(scope["method"], route_path(scope))
        entry = None if needed == READ else _Entry(scope, caller)
        try:
            check_scope(caller, needed)
            check_collections(caller, scope)
        except FacesearchError as error:
            answer = answer_to(error, scope["path"])
            if entry is not None:
                await entry.write(answer.status_code)
            await answer(scope, receive, send)
            return
        if entry is None:
            await self._app(scope, receive, send)
        else:
            await entry.write_around(self._app, receive, send)


def route_path(scope: Scope) -> str:
    """The path as the routes are looked up by it: below where the service was mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def needed_scope(method: str, path: str) -> str:
    """Which scope a request needs: whatever is not known to change nothing needs `write`, or more."""
    if method in _SAFE or (method == "POST" and _READING_POSTS.fullmatch(path.rstrip("/"))):
        return READ
    return ADMIN if _COLLECTIONS.fullmatch(path) else WRITE


def check_scope(caller: Caller, needed: str) -> None:
    """Let a caller pass whose key has the scope; collections are made and deleted by keys for all of them.

    Raises:
        ScopeNotAllowed, CollectionNotAllowed: it may not.
    """
    if SCOPES.index(caller.scope) < SCOPES.index(needed):
        raise ScopeNotAllowed(f"This needs a key of scope {needed}; the key's scope is {caller.scope}.")
    if needed == ADMIN and is_restricted(caller):
        raise CollectionNotAllowed("This needs a key for all collections, `*`.")


def check_collections(caller: Caller, scope: Scope) -> None:
    """Let a caller pass who names no collection in the query but the key's own.

    Raises:
        CollectionNotAllowed, CollectionNotFound: see `collection_of`.
    """
    if route_path(scope).startswith(V1):
        for name in _named_collections(scope):
            collection_of(caller, name)


def _named_collections(scope: Scope) -> Iterator[str]:
    query = scope.get("query_string", b"").decode("latin-1")
    return (value for name, value in parse_qsl(query, keep_blank_values=True) if name == "collection")


async def _admitted(scope: Scope, receive: Receive) -> tuple[Caller, Receive]:
    """Find out who sends a request; the one form that may hold a key is read for it, and given again."""
    key = key_of(scope["headers"])
    try:
        caller = await _asked(scope, key)
    except KeyMissing:
        if scope["method"] != "POST" or route_path(scope).rstrip("/") != FORM_PATH:
            raise
        forms = scope["app"].state.forms
        forms.refuse_if_full()
        with forms:
            key, receive = await key_in_form(scope, receive)
        if key is None:
            raise
        caller = await _asked(scope, key)
    if caller is None:
        check_local(scope)
        return LOCAL, receive
    return caller, receive


async def _asked(scope: Scope, key: str | None) -> Caller | None:
    state = scope["app"].state
    api: API = state.api
    return await anyio.to_thread.run_sync(api.access.admit, key, limiter=state.access_threads)


class _Entry:
    """What the audit log will hold of one request. Belongs to the request's task."""

    def __init__(self, scope: Scope, caller: Caller) -> None:
        self._scope = scope
        self._caller = caller
        self._is_written = False

    async def write_around(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        """Have the request worked on, and write before its answer leaves, or at its end where it has none."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self.write(message["status"])
            await send(message)

        try:
            await app(self._scope, receive, told)
        except Exception:
            await self.write(500)  # which is what it becomes further out
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self.write(None)

    async def write(self, status: int | None) -> None:
        if self._is_written:
            return
        self._is_written = True
        scope, state = self._scope, self._scope["app"].state
        what = f"{scope['method']} {route_of(scope)}"
        deed = Deed(self._caller.who, self._caller.name, what, noted(scope, status), status)
        await anyio.to_thread.run_sync(state.api.access.record, deed, limiter=state.access_threads)
