#!/usr/bin/env bash
# web.sh build [VITE ARGUMENTS]: write web/dist. web.sh test: type check and unit tests. web.sh modules: only install what these need. Modules are installed where the lock file is newer.
set -euo pipefail
cd "$(dirname "$0")/../web"

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	npm ci --no-audit --no-fund --prefer-offline
	touch node_modules/.package-lock.json
fi
case ${1:-} in
build) npm run --silent build -- "${@:2}" ;;
test) npm test --silent ;;
modules) ;;
*) echo "usage: web.sh build|test|modules" >&2; exit 2 ;;
esac
