"""Server-sent events out of the bytes of an answer, with a bound on everything that another server decides.

Source: HTML standard, section 9.2.6 "Interpreting an event stream".
"""

from collections.abc import Iterator

MAX_EVENT_BYTES = 1 << 20
MAX_ANSWER_BYTES = 1 << 26
"""Of one answer as it is sent, protocol included."""


class TooLong(ValueError):
    """A line, an event or an answer is longer than any real one."""


class EventReader:
    """Cuts bytes into the data of events; comments, names and ids of events are left out.

    An event at the end that no blank line closes never comes out, as the standard has it.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []
        self._event_bytes = 0
        self._bytes = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the data of each event that is complete now.

        Raises: TooLong: more came than `MAX_EVENT_BYTES` of one event, or `MAX_ANSWER_BYTES` in all.
        """
        self._bytes += len(chunk)
        if self._bytes > MAX_ANSWER_BYTES:
            raise TooLong
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._line += line
            # A lone carriage return as the end of a line is in the standard, but no server writes it.
            whole = bytes(self._line).removesuffix(b"\r")
            self._line.clear()
            if whole:
                self._keep(whole)
            elif self._data:
                yield b"\n".join(self._data)
                self._data, self._event_bytes = [], 0
        self._line += rest
        if len(self._line) > MAX_EVENT_BYTES:
            raise TooLong

    def _keep(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name != b"data":
            return
        self._data.append(value.removeprefix(b" "))
        self._event_bytes += len(line)
        if self._event_bytes > MAX_EVENT_BYTES:
            raise TooLong
