"""Catch a real client's request, and look at it: HTTP is text with rules."""

import socket
import threading
import urllib.request

listener = socket.create_server(("127.0.0.1", 0))  # port 0: any that is free
address = f"http://127.0.0.1:{listener.getsockname()[1]}/tasks?limit=5"


def answer_one() -> None:
    connection, _ = listener.accept()
    with connection:
        for line in connection.recv(65_536).split(b"\r\n"):  # bytes, each line ends in CR LF
            print(line)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n")


server = threading.Thread(target=answer_one)
server.start()
with urllib.request.urlopen(address) as response:
    body = response.read()
server.join()
print("The client got:", response.status, body)  # 200 b'hi\n'
