"""Orthanc as Debian packages it, with its DICOMweb plugin, on 127.0.0.1 only."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.peers import program
from benchmarks.processes import Server, answers, free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
# Orthanc listens on every address whatever its configuration says, and measuring must open nothing to the network.
_LOOPBACK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>
int bind(int fd, const struct sockaddr *address, socklen_t length) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real) real = (int (*)(int, const struct sockaddr *, socklen_t)) dlsym(RTLD_NEXT, "bind");
    if (address->sa_family == AF_INET) {
        struct sockaddr_in own = *(const struct sockaddr_in *) address;
        own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return real(fd, (const struct sockaddr *) &own, sizeof own);
    }
    return real(fd, address, length);
}
"""


def orthanc(work: Path) -> Server:
    """The server with an empty storage in ``work``. Raises RuntimeError when it is not installed."""
    executable = program("Orthanc", Path("/usr/sbin"))
    compiler = shutil.which("cc")
    if executable is None or not PLUGIN.exists():
        raise RuntimeError("Orthanc is not installed (apt-get install orthanc orthanc-dicomweb)")
    if compiler is None:
        raise RuntimeError("Orthanc listens on every address, and there is no C compiler to keep it from that")
    work.mkdir(parents=True, exist_ok=True)
    source, shim = work / "loopback.c", work / "loopback.so"
    source.write_text(_LOOPBACK)
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", str(source), "-o", str(shim), "-ldl"], check=True)
    port = free_port()
    configuration = work / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "Name": "benchmark", "StorageDirectory": str(work / "storage"), "IndexDirectory": str(work / "storage"),
                "Plugins": [str(PLUGIN)], "HttpPort": port, "RemoteAccessAllowed": False, "DicomServerEnabled": False,
                "AuthenticationEnabled": False, "KeepAlive": True, "HttpThreadsCount": 8, "OverwriteInstances": True,
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "Ssl": False},
            }
        )
    )  # fmt: skip
    return Server(
        "Orthanc",
        [executable, str(configuration)],
        port,
        {"LD_PRELOAD": str(shim)},
        lambda port: answers(port, "/system"),
        work / "orthanc.log",
    )


def upload(port: int, files: Iterable[Path]) -> None:
    """Put files into the storage by Orthanc's own interface."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for file in files:
        connection.request("POST", "/instances", file.read_bytes(), {"content-type": "application/dicom"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"Orthanc does not take {file.name}: {response.status}")
    connection.close()
