"""Asking before something is done that cannot be undone."""

import sys

import click

from facesearch.errors import NotAllowed

yes_option = click.option("--yes", is_flag=True, help="Do it without being asked.")


def confirm(question: str, yes: bool) -> None:
    """Ask, unless `yes`, and end where the answer is no.

    Raises:
        NotAllowed: nobody is there who could be asked.
    """
    if yes:
        return
    if not _asks():
        raise NotAllowed("Nothing was done: nobody is here to ask, and --yes is not given.")
    # What a program reads of the standard output stays JSON.
    click.confirm(question, abort=True, err=True)


def _asks() -> bool:
    """Whether somebody is there who can be asked."""
    return sys.stdin.isatty()
