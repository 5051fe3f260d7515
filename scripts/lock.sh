#!/bin/sh
# Resolve pyproject.toml into requirements/*.txt: exact versions with the hashes of their files, for every supported
# Python and platform, and no address of any index in them. Versions already locked stay unless --upgrade is given.
set -eu
cd "$(dirname "$0")/.."

command -v uv >/dev/null || {
    echo "make lock needs uv: pip install uv" >&2
    exit 1
}

lock() {
    file=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
        --custom-compile-command "make lock" --output-file "requirements/$file.txt" "$@"
    if grep -nE '://|--(index|extra-index|find-links)' "requirements/$file.txt"; then
        echo "requirements/$file.txt holds an address" >&2
        exit 1
    fi
}

mkdir -p requirements
# The largest set first: what it decides binds the others, so that tests run on the versions that are served.
lock test pyproject.toml --group test --extra scene "$@"
lock serve pyproject.toml --constraint requirements/test.txt "$@"
lock scene pyproject.toml --extra scene --constraint requirements/test.txt "$@"
for group in build node go; do
    lock "$group" --group "$group" --constraint requirements/test.txt "$@"
done
