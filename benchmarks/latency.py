"""A TCP relay that lets every request wait: ``python -m benchmarks.latency PORT TARGET_PORT MILLISECONDS``.

A client of an object store sends a request and waits for its answer, so delaying what the client sends by a fixed
time delays every request by that time and leaves the bandwidth of answers alone.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    try:
        while data := await reader.read(1 << 18):
            if delay:
                await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()


async def main(port: int, target: int, delay: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_relay(reader, upstream_writer, delay), _relay(upstream_reader, writer, 0))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
