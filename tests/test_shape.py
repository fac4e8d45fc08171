"""The shape of the code: small files, small functions, small classes (CONTRIBUTING.md). The numbers only go down."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "clusterodm_py"
FILES = sorted(PACKAGE.rglob("*.py"))

LONGEST_FILE = 300
LONGEST_FUNCTION = 40
LONGEST_CLASS = 200

DECLARATIONS = {"build_engine", "Config"}
"""Lists in the form of code: an object graph, the keys of the configuration."""


def lines(node: ast.stmt) -> int:
    """Lines of a definition without its docstring."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    match node.body[0]:
        case ast.Expr(value=ast.Constant(value=str())) as docstring:
            return total - ((docstring.end_lineno or 0) - docstring.lineno + 1)
    return total


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_says_its_subject_on_a_few_screens(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    assert len(source.splitlines()) <= LONGEST_FILE
    assert ast.get_docstring(tree), "every module opens with what it is"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in DECLARATIONS:
            assert lines(node) <= LONGEST_FUNCTION, node.name
        if isinstance(node, ast.ClassDef) and node.name not in DECLARATIONS:
            assert lines(node) <= LONGEST_CLASS, node.name
