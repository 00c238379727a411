"""WebSocket frames, without a socket: bytes in, whole text messages out, and the bytes that the protocol wants sent.

The rule it protects: what comes out depends on the bytes alone, never on how they were split. RFC 6455 says what a
frame is; the `websockets` package's sans-io layer reads and writes them (masks, lengths, control frames, the order of
fragments, the closing handshake). What it leaves to its user is done here, frame by frame as it reads them: fragments
are put together, text is held to be UTF-8 (close code 1007), and anything but text is refused (1003). A message larger
than the limit is never collected (1009).

Source: RFC 6455, sections 5.4 (fragmentation), 5.5 (control frames), 7.4.1 (close codes), 8.1 (invalid UTF-8).
"""

from __future__ import annotations

from enum import IntEnum

from websockets.frames import Frame, Opcode
from websockets.protocol import SEND_EOF, Protocol, Side, State


class CloseCode(IntEnum):
    """Why a connection is closed, as far as headrace says it."""

    NORMAL = 1000
    GOING_AWAY = 1001
    UNSUPPORTED_DATA = 1003
    INTERNAL_ERROR = 1011


class Frames(Protocol):
    """The frames of one connection, seen from the server, after its handshake.

    Args:
        max_message_bytes: largest message, over all its fragments.
    """

    def __init__(self, max_message_bytes: int) -> None:
        super().__init__(Side.SERVER, state=State.OPEN, max_size=max_message_bytes)
        self._fragments: list[bytes] = []
        self._messages: list[bytes] = []

    @property
    def open(self) -> bool:
        """Whether neither side has closed yet."""
        return self.state is State.OPEN

    def feed(self, data: bytes) -> list[bytes]:
        """The text messages that are whole with these bytes; what follows a fault or a close is dropped."""
        self.receive_data(data)
        self.events_received()
        messages, self._messages = self._messages, []
        return messages

    def outgoing(self) -> tuple[bytes, bool]:
        """What is to be sent now, and whether the connection is to be closed after it."""
        blocks = self.data_to_send()
        return b"".join(blocks), SEND_EOF in blocks

    def recv_frame(self, frame: Frame) -> None:
        """A frame was read. Raises UnicodeDecodeError, which closes the connection: a whole message is no UTF-8."""
        expected = self.open
        super().recv_frame(frame)
        if frame.opcode is Opcode.BINARY:
            self.fail(CloseCode.UNSUPPORTED_DATA, "send text")
        elif expected and frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._collect(frame)

    def _collect(self, frame: Frame) -> None:
        if frame.data:
            self._fragments.append(bytes(frame.data))
        if frame.fin:
            message, self._fragments = b"".join(self._fragments), []
            message.decode()
            self._messages.append(message)
