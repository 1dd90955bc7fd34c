"""The server proves that it has understood: it hashes the client's key with a string that is part of the protocol."""

import base64
import hashlib
import os

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


def accept(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()


print(accept("dGhlIHNhbXBsZSBub25jZQ=="))  # the example of the RFC
key = base64.b64encode(os.urandom(16)).decode()  # 16 bytes, new for each connection
print(f"""
GET /ws/tasks HTTP/1.1
Upgrade: websocket
Sec-WebSocket-Key: {key}

HTTP/1.1 101 Switching Protocols
Sec-WebSocket-Accept: {accept(key)}""")
