"""WebSocket (RFC 6455) by hand: the handshake, the frames, and the rooms behind them."""
