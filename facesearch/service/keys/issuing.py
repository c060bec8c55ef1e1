"""Making keys and revoking them."""

from collections.abc import Callable
from datetime import UTC, datetime

from facesearch.errors import Conflict, InvalidParameter
from facesearch.interfaces import KeyStore
from facesearch.records import Deed, Key, NewKey
from facesearch.service.keys.key_text import digest_of, new_key_text, prefix_of

_MOST_DRAWS = 8
_LONGEST_NAME = 255


class KeyDesk:
    """Makes keys and revokes them, and has that written into the audit log.

    Lives as long as its store; any thread may call it.

    Args:
        record: writes the audit log.
    """

    def __init__(self, store: KeyStore, record: Callable[[Deed], None]) -> None:
        self._store = store
        self._record = record

    def create(
        self, scope: str, collection: str, name: str, expires_at: datetime | None = None
    ) -> tuple[str, Key]:
        """Make a key; return its text, which is kept nowhere, and what is known of it.

        Args:
            collection: a name, or ALL_COLLECTIONS.

        Raises:
            CollectionNotFound: there is no such collection.
            InvalidParameter: the name cannot be kept, or the key would have expired already.
        """
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise InvalidParameter(f"A key's name has at most {_LONGEST_NAME} characters, on one line.")
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise InvalidParameter("The key would have expired already.")
        for _ in range(_MOST_DRAWS):
            text = new_key_text()
            new = NewKey(prefix_of(text) or "", digest_of(text), scope, collection, name, expires_at)
            try:
                key = self._store.add(new)
            except Conflict:
                continue  # the prefix was drawn before
            self._tell("create", key)
            return text, key
        raise Conflict("No prefix could be found that is free.")

    def revoke(self, prefix: str) -> Key:
        """Revoke a key, which is named by its prefix; return it.

        Raises:
            KeyNotFound: there is none of this prefix.
        """
        key = self._store.revoke(prefix)
        self._tell("revoke", key)
        return key

    def _tell(self, what: str, key: Key) -> None:
        self._record(Deed("local", "", f"keys {what}", (key.prefix,)))
