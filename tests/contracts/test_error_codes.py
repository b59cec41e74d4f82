"""Every code that an answer can carry is in the contract: what a client sees is what PROTOCOL.md says."""

from __future__ import annotations

import ast
from pathlib import Path

from server.protocol.codes import ErrorCode

ROOT = Path(__file__).resolve().parents[2] / "server"
# What only the operator is told: before anybody is connected, or at the admin socket.
OPERATOR = {
    *("wrong_kind", "migration_needed", "not_initialised", "database_in_use"),
    *("not_the_operator", "too_slow", "unknown_outcome", "not_running", "urgent_open"),
    *("not_a_backup", "damaged", "wrong_key", "not_empty", "no_database", "no_ledger", "damaged_ledger"),
}


def codes_in(tree: ast.AST) -> set[str]:
    """The literal `code=` of every call, and the class attribute `code`."""
    found = {
        keyword.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }
    found |= {
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and "code" in [getattr(t, "id", "") for t in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    }
    return found


def test_every_code_that_the_server_raises_is_in_the_contract() -> None:
    """A code that is not in `ErrorCode`, and so not in PROTOCOL.md, fails here."""
    raised: set[str] = set()
    for path in ROOT.rglob("*.py"):
        raised |= codes_in(ast.parse(path.read_text()))
    assert raised >= {"still_held", "not_found"}
    assert raised - {str(code) for code in ErrorCode} - OPERATOR == set()
