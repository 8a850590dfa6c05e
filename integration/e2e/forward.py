"""Sends records to a Fluent Bit by its forward protocol.

  forward.py PORT lines FILE      each line as {"message": LINE}, a hundred a chunk
  forward.py PORT hostile         records that are strange, then {"message": "the last one"}
"""
import socket
import struct
import sys
import time


def pack(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, str):
        value = value.encode()
        return struct.pack(">BI", 0xDB, len(value)) + value
    if isinstance(value, list):
        return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        return struct.pack(">BI", 0xDF, len(value)) + b"".join(pack(key) + pack(item) for key, item in value.items())
    return value


def now():
    return b"\xd7\x00" + struct.pack(">II", int(time.time()), 0)


def forward(records):
    return pack(["test", [[now(), record] for record in records]])


def hostile():
    deep = b"\x91" * 1000 + b"\xc0"
    yield forward([{"message": "deep", "n": deep}])
    yield forward([{"message": "keys", b"\x05": 1, b"\xc0": 2, b"\x91\x01": 3}])
    yield forward([{"message": "extension", "n": b"\xc7\x03\x07abc"}])
    yield forward([{"message": b"\xc4\x03\xff\xfe\x00"}])
    yield forward([{"message": "twice", b"\xa7message": "again"}])
    yield forward([{"message": {"a": {"b": 1}}}, {"message": ["a"]}, {"message": None}, {"message": 17}, {}])
    yield forward([{"message": "large " + "x " * (5 << 20)}])
    yield pack(["test", [[now(), "no map"]]])
    yield forward([{"message": "cut"}])[:-3]


def main():
    port, kind = int(sys.argv[1]), sys.argv[2]
    if kind == "hostile":
        for chunk in hostile():
            send(port, [chunk])
        send(port, [forward([{"message": "the last one"}])])
        return
    lines = [line.rstrip("\n") for line in open(sys.argv[3])]
    send(port, (forward([{"message": line} for line in lines[at : at + 100]]) for at in range(0, len(lines), 100)))


def send(port, chunks):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for chunk in chunks:
            connection.sendall(chunk)
        connection.shutdown(socket.SHUT_WR)
        # The other side closes when it has read everything, or when it had enough.
        connection.settimeout(30)
        try:
            connection.recv(1)
        except (TimeoutError, ConnectionResetError):
            pass


main()
