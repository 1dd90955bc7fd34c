"""A message in three fragments, with a ping in between, and a letter that was cut in two."""

import codecs

CONTINUATION, TEXT, PING = 0x0, 0x1, 0x9
frames = [  # opcode, is it the last?, payload
    (TEXT, False, b"Gr\xc3"),  # the first half of an umlaut
    (PING, True, b"alive?"),  # control frames may stand anywhere: a ping must not wait for a large message
    (CONTINUATION, False, b"\xbc\xc3\x9f"),
    (CONTINUATION, True, b"e!"),
]
decoder, text = codecs.getincrementaldecoder("utf-8")(), ""
for opcode, is_final, payload in frames:
    if opcode == PING:
        print("pong", payload)
        continue
    text += decoder.decode(payload, is_final)  # keeps the half letter until the rest comes
    print(repr(text), "- the end" if is_final else "...")
try:
    frames[0][2].decode()
except UnicodeDecodeError as error:
    print("the first for itself:", error.reason)
