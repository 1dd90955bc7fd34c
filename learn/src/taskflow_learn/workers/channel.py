"""
Messages over a byte stream: four bytes of length, then so many bytes of JSON.

    00 00 00 1d  {"kind": "cpu", "input": ...}

The same problem as HTTP and WebSocket (where does a message end?) with the simplest answer there is. JSON and not
`pickle`: unpickling runs code, and a format that can only hold data cannot surprise anybody.
"""

import json
import struct

from taskflow_learn.errors import JSONValue

LENGTH = struct.Struct(">I")


def encode_message(value: JSONValue) -> bytes:
    data = json.dumps(value, separators=(",", ":")).encode()
    return LENGTH.pack(len(data)) + data
