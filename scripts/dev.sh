#!/bin/sh
# Server and web app that reload: http://127.0.0.1:3000 asks the server on port 20000 for its data.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/agented serve "$@" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server"' EXIT INT TERM
cd frontend
npm run --silent dev
