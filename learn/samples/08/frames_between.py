"""How two processes talk: four bytes of length, then so many bytes of JSON."""

import json
import os
import socket
import struct

ours, theirs = socket.socketpair()
if os.fork() == 0:  # the child: it has its own interpreter, its own lock and its own memory
    (length,) = struct.unpack(">I", theirs.recv(4, socket.MSG_WAITALL))
    job = json.loads(theirs.recv(length, socket.MSG_WAITALL))
    answer = json.dumps({"sum": sum(job["numbers"]), "same process": os.getpid() == job["pid"]}).encode()
    theirs.sendall(struct.pack(">I", len(answer)) + answer)
    os._exit(0)
question = json.dumps({"numbers": [1, 2, 3], "pid": os.getpid()}).encode()
print("sent:", struct.pack(">I", len(question)) + question[:12], "...")
ours.sendall(struct.pack(">I", len(question)) + question)
(length,) = struct.unpack(">I", ours.recv(4, socket.MSG_WAITALL))
print("got: ", json.loads(ours.recv(length, socket.MSG_WAITALL)))
os.wait()
