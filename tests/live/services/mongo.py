# SPDX-License-Identifier: Apache-2.0
"""Stands for a MongoDB: no distribution has one.

    python mongo.py PORT

Speaks OP_MSG as far as a client needs it to fill its pool: hello, and any other command, the
answer to which comes after as many milliseconds as its comment says.
"""

import asyncio
import struct
import sys

import bson

OP_MSG = 2013
HELLO = {
    "isWritablePrimary": True,
    "helloOk": True,
    "maxBsonObjectSize": 1 << 24,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 25,
}


async def serve(reader, writer):
    try:
        while True:
            length, request, _, op = struct.unpack("<4i", await reader.readexactly(16))
            body = await reader.readexactly(length - 16)
            if op != OP_MSG:
                break
            # Behind the flags and the kind of the only section.
            command = bson.decode(body[5:])
            answer = {"ok": 1.0}
            if next(iter(command)) in ("hello", "isMaster", "ismaster"):
                answer |= HELLO
            await asyncio.sleep(command.get("comment", 0) / 1e3)
            data = bson.encode(answer)
            writer.write(struct.pack("<4iIB", 21 + len(data), 0, request, OP_MSG, 0, 0) + data)
    except asyncio.IncompleteReadError:
        pass
    finally:
        writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
