"""Every code that an error of the service may carry, with its status and what it says."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from facesearch.errors import FacesearchError
from facesearch.web.envelope import HTTP_CODES, HTTP_SENTENCES, status_of

_OF_THE_FRAMEWORK = (400, 404, 405, 408, 413)


class Code(NamedTuple):
    """A code's HTTP status, and the sentence that is told where there is none that says more."""

    status: int
    sentence: str


def all_codes() -> Mapping[str, Code]:
    """Return the codes in alphabetical order: of the tree of errors, and what the web adds of its own."""
    found = {kind.code: Code(status_of(kind()), kind().message) for kind in _tree(FacesearchError)}
    for status in _OF_THE_FRAMEWORK:
        code = HTTP_CODES[status]
        sentence = HTTP_SENTENCES.get(status) or found[code].sentence
        found.setdefault(code, Code(status, sentence))
        found[f"http_{status}"] = Code(status, f"{sentence} Only of the four old routes.")
    found["internal"] = Code(500, HTTP_SENTENCES[500])
    return dict(sorted(found.items()))


def table() -> str:
    """The codes as a table in Markdown."""
    rows = [f"| `{code}` | {status} | {sentence} |" for code, (status, sentence) in all_codes().items()]
    return "\n".join(["| code | status | meaning |", "|---|---|---|", *rows])


def _tree(kind: type[FacesearchError]) -> Iterator[type[FacesearchError]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == FacesearchError.__module__:  # a room's own kinds reach clients as one of these
            yield from _tree(below)
