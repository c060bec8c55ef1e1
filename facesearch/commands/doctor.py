"""The command `doctor` of `python3 -m facesearch`: is this installation in order, and what is to be done?"""

import json
import sys
from dataclasses import asdict

import click

from facesearch import __version__
from facesearch.commands.terminal import paragraph
from facesearch.records import OK, PROBLEM, WARNING, Finding

_COLOURS = {OK: "green", WARNING: "yellow", PROBLEM: "red"}
_STATE, _INDENT = 9, 26


@click.command(short_help="Check this installation, and say what to do.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(as_json: bool) -> None:
    """Check this installation: settings, database, models, processes, index, memory, port and more.

    Nothing is changed, and the service may be running or not. Ends with 1 where there is a problem.
    """
    # Here, not above: `serve` needs none of it, and numpy's threads are limited before it is loaded.
    from facesearch.bootstrap.doctor import examine  # noqa: PLC0415

    found = []
    for finding in examine():
        found.append(finding)
        if not as_json:
            click.echo(_lines(finding))
    problems, warnings = (sum(f.state == state for f in found) for state in (PROBLEM, WARNING))
    if as_json:
        told = {
            "version": __version__,
            "problems": problems,
            "warnings": warnings,
            "checks": [asdict(finding) for finding in found],
        }
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo()
        click.echo(_summary(len(found), problems, warnings))
    if problems:
        sys.exit(1)


def _lines(finding: Finding) -> str:
    state = click.style(finding.state, fg=_COLOURS[finding.state], bold=finding.state != OK)
    label = state + " " * (_STATE - len(finding.state)) + finding.check
    said = paragraph(label, finding.message, _INDENT)
    if finding.advice is None:
        return said
    return f"{said}\n{paragraph(' ' * (_INDENT - 3) + '->', finding.advice, _INDENT)}"


def _summary(checks: int, problems: int, warnings: int) -> str:
    if not problems and not warnings:
        return click.style(f"{_counted(checks, 'check')}, and all is in order.", fg="green", bold=True)
    counted = [
        _counted(number, noun) for number, noun in ((problems, "problem"), (warnings, "warning")) if number
    ]
    ending = "what to do stands beside each." if problems else "the service can run like this."
    said = f"{' and '.join(counted)} in {_counted(checks, 'check')}: {ending}"
    return click.style(said, fg="red" if problems else "yellow", bold=True)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
