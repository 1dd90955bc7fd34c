"""HTTP/1.1 (RFC 9110 and RFC 9112) from the bytes of a TCP connection."""
