#!/bin/sh
# What draws 3D views without a display: EGL and Mesa's software renderer. Slices need none of it. Without root it says
# what is missing, and 3D views answer 503.
#
#   scripts/install_scene_tools.sh
set -eu

libraries() { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; }

if libraries | grep -q 'libEGL\.so\.1' && find /usr/lib -path '*dri*' -name '*.so*' 2>/dev/null | grep -q .; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "install: installing libegl1 libgl1-mesa-dri" >&2
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends libegl1 libgl1-mesa-dri >/dev/null
else
    echo "install: 3D views need EGL; as root: apt-get install libegl1 libgl1-mesa-dri" >&2
fi
