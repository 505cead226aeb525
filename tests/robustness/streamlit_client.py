"""A browser tab without a browser: Streamlit's websocket, spoken directly. It draws nothing and costs nearly nothing.

What it sees is what the server sends; how long a person waits is longer by what their browser needs to draw it.
"""

import re
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

__all__ = ["Answer", "Tab"]

_STRINGS = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class Answer:
    """What one run of the script sent."""

    seconds: float
    text: str
    fragments: dict[str, float] = field(default_factory=dict)
    """Fragments that want to be run again: id → interval in seconds."""


class Tab:
    """One tab; ``close`` it, or use it as a context manager. ``session``: the one to go on with, see ``session`` of the
    tab before."""

    def __init__(self, url: str, *, session: str = "", patience_s: float = 60.0) -> None:
        self._patience_s = patience_s
        # The third entry is how a browser asks for its session of before when the connection was cut.
        protocols = ["streamlit", "unused", session] if session else ["streamlit"]
        address = f"{url.replace('http', 'ws', 1)}/_stcore/stream"
        self._stack = ExitStack()
        self._socket: ClientConnection = self._stack.enter_context(
            connect(
                address,
                subprotocols=protocols,  # type: ignore[arg-type]
                max_size=None,
                open_timeout=patience_s,
                close_timeout=1,
            )
        )
        self.session = session

    def cut(self) -> None:
        """Lose the connection without a word, as with a network that goes away."""
        self._socket.socket.shutdown(socket.SHUT_RDWR)

    def open(self, page: str = "", **parameters: str) -> Answer:
        """Open a page, as a link or a reload does."""
        message = BackMsg()
        message.rerun_script.query_string = urlencode(parameters)
        message.rerun_script.page_name = page
        return self._ask(message)

    def poll(self, fragment: str, page: str = "", **parameters: str) -> Answer:
        """Run one fragment again, as its timer in the browser does."""
        message = BackMsg()
        message.rerun_script.query_string = urlencode(parameters)
        message.rerun_script.page_name = page
        message.rerun_script.fragment_id = fragment
        message.rerun_script.is_auto_rerun = True
        return self._ask(message)

    def close(self) -> None:
        """Close the tab."""
        self._stack.close()

    def __enter__(self) -> "Tab":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, message: BackMsg) -> Answer:
        started = time.monotonic()
        self._socket.send(message.SerializeToString())
        answer = Answer(0.0, "")
        parts: list[str] = []
        while True:
            left_s = started + self._patience_s - time.monotonic()
            received = ForwardMsg()
            received.ParseFromString(bytes(self._socket.recv(timeout=max(0.01, left_s))))  # type: ignore[arg-type]
            match received.WhichOneof("type"):
                case "new_session":
                    self.session = received.new_session.initialize.session_id
                case "delta":
                    parts += _STRINGS.findall(str(received.delta))
                case "auto_rerun":
                    answer.fragments[received.auto_rerun.fragment_id] = received.auto_rerun.interval
                case "script_finished" if received.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    answer.seconds = time.monotonic() - started
                    answer.text = "\n".join(parts).encode("latin-1", "ignore").decode("unicode_escape", "ignore")
                    return answer
