#!/usr/bin/env bash
# Set up everything in .venv and run all checks and tests. Arguments go to pytest: scripts/test.sh tests/data -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One thread per process: with more, small models on busy cores become hundreds of times slower.
export OMP_NUM_THREADS=1
export PIP_CONSTRAINT="$PWD/constraints.txt" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "moist needs Python 3.10 or newer, $python is $("$python" --version); set PYTHON to a newer one" >&2
    exit 2
}

step() { printf '\n== %s\n' "$*"; }

step "setting up .venv"
[ -x .venv/bin/python ] || "$python" -m venv .venv
# torch first and alone: it is the large one, and nothing that follows may change it.
.venv/bin/pip install --quiet --constraint constraints.txt torch
.venv/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'

step "ruff"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
step "mypy"
.venv/bin/mypy
step "import-linter"
.venv/bin/lint-imports
step "pytest"
.venv/bin/python -m pytest --numprocesses auto "$@"
