#!/bin/sh
# Install microtome from this folder into a virtual environment, with the exact packages of requirements/*.txt.
#
#   scripts/install.sh [--scene] [--test] [--copy] [--into FOLDER]
#
#   --scene    what a Slicer scene needs, too (VTK: 0.9 GB)
#   --test     what the tests need, too, the scene included
#   --copy     a copy that does without this folder afterwards, instead of a link to it
#   --into     the folder of the environment (default: .venv)
#
# Needs Python 3.11 or newer (the variable PYTHON names another than python3). Where nothing has changed since the last
# time it does nothing. `make serve`, the Dockerfile and tests/e2e/test_install.py all use this script.
set -eu
cd "$(dirname "$0")/.."

main=serve link=--editable venv=.venv
while [ $# -gt 0 ]; do
    case $1 in
    --scene) [ $main = test ] || main=scene ;;
    --test) main=test ;;
    --copy) link= ;;
    --into) venv=${2:?--into needs a folder} && shift ;;
    *) echo "usage: scripts/install.sh [--scene] [--test] [--copy] [--into FOLDER]" >&2 && exit 2 ;;
    esac
    shift
done

say() { echo "install: $*" >&2; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "Python 3.11 or newer is needed; on Debian 12: apt-get install python3 python3-venv"
    return 1
}

which_python() { "$1" -c 'import sys; print(sys.version_info[:2], sys.base_prefix)'; }

# Debian keeps what makes environments in a package of its own.
need_venv_module() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=sudo
    else
        as_root=none
    fi
    if [ "$as_root" != none ] && command -v apt-get >/dev/null; then
        say "installing $package"
        $as_root apt-get -qq update
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$package" >/dev/null
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null || {
        say "this Python cannot make virtual environments; as root: apt-get install $package"
        return 1
    }
}

# Everything the result depends on.
fingerprint() {
    {
        echo "$link" && pwd && which_python "$python"
        cat scripts/install.sh pyproject.toml hatch_build.py requirements/*.txt src/microtome/viewer/web/package-lock.json
        [ -n "$link" ] || find src -type f ! -name '*.pyc' -exec cat {} +
    } | sha256sum | cut -d ' ' -f 1
}

python=$(find_python)
stamp=$venv/.microtome-installed
state=$(fingerprint)
if [ -f "$stamp" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    read -r was_state was_main <"$stamp" || true
    # An environment that holds more than is asked for keeps it.
    case $was_main-$main in test-* | scene-serve) main=$was_main ;; esac
    if [ "$was_state $was_main" = "$state $main" ]; then exit 0; fi
fi

need_venv_module
made_by=$(which_python "$venv/bin/python" 2>/dev/null || true)
if [ "$made_by" != "$(which_python "$python")" ]; then
    say "making $venv"
    "$python" -m venv --clear "$venv"
fi
rm -f "$stamp"

# Node fetches the web pages' packages, and runs pyright.
node=
command -v npm >/dev/null || node="--requirement requirements/node.txt"

say "installing the packages of requirements/$main.txt"
set -- --quiet --disable-pip-version-check --no-input
# shellcheck disable=SC2086
"$venv/bin/python" -m pip install "$@" --require-hashes --only-binary :all: \
    --requirement "requirements/$main.txt" --requirement requirements/build.txt $node
# Nothing is fetched by pip here; the build hook asks npm for the pages' packages unless they are in place.
"$venv/bin/python" -m pip install "$@" --no-deps --no-index --no-build-isolation --force-reinstall $link .
# A copy is there to run; Node was there to build it.
if [ -z "$link" ] && [ "$node" ] && [ "$main" != test ]; then
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip uninstall --quiet --yes $node
fi
echo "$state $main" >"$stamp"
say "ready: $venv/bin/microtome"
