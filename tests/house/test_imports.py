"""The import rules of the plan: import-linter's contracts, and what they cannot express."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "facesearch"


def test_the_contracts_hold() -> None:
    pytest.importorskip("importlinter", reason="import-linter is not installed (requirements-dev.txt)")
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as c; c()",
        "--no-cache",
    ]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_application_is_made_by_the_switchboard_alone() -> None:
    assert {module for module, _ in _imports(ROOT / "app.py")} == {"facesearch.bootstrap"}


def test_web_sees_one_port_and_no_database_settings() -> None:
    seen = {names for path in (PACKAGE / "web").rglob("*.py") for names in _imports(path)}
    assert {name for module, name in seen if module == "facesearch.interfaces"} == {"API"}
    assert not {name for module, name in seen if module == "facesearch.config"} & {
        "DatabaseSettings",
        "load_settings",
    }


@pytest.mark.parametrize(
    "module", ["facesearch.interfaces", "facesearch.web", "facesearch.service", "facesearch.cli"]
)
def test_an_import_loads_no_encoder_and_no_driver(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not set(loaded.stdout.split()) & {"dlib", "_dlib_pybind11", "onnxruntime", "sqlalchemy", "mysql"}


def _imports(path: Path) -> set[tuple[str, str]]:
    """The (module, name) pairs that a file imports; the name is empty for `import module`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {(node.module or "", alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
    return found
