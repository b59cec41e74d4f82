"""`python -m ops.demo`: the same as `evenkeel demo`."""

import typer

from ops.demo.command import demo

typer.run(demo)
