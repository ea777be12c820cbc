"""ds9 through SAMP, the message bus of the Virtual Observatory."""

from __future__ import annotations

import importlib
import queue
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import Any, Final, final

from skyloom.errors import DisplayNotAvailable, DisplayRefused

__all__ = ["Samp", "find_samp"]

_SET: Final = "ds9.set"
_GET: Final = "ds9.get"
_TIMEOUT: Final = 60.0  # s for a command; a large image takes a second or two
_HOMES: Final = ("astropy.samp", "pyvo.samp")  # astropy 8 says that it will leave for pyvo


@final
class Samp:
    """A `Transport` to a ds9 on the SAMP hub; made by `find_samp`.

    Parameters
    ----------
    client : SAMPIntegratedClient
        Connected client.
    target : str
        SAMP identifier of the ds9.
    """

    def __init__(self, client: Any, target: str) -> None:
        self.client = client
        self.target = target

    @property
    def name(self) -> str:
        """``samp`` and the identifier of the ds9."""
        return f"samp {self.target}"

    def send(self, command: str, data: bytes | None = None) -> None:
        """Send a command; what it is to read lies in a file until ds9 has answered."""
        if data is None:
            self._call(command, {"cmd": command})
            return
        ending = ".reg" if command == "regions" else ".fits"
        with tempfile.TemporaryDirectory(prefix="skyloom-") as folder:
            path = Path(folder) / f"display{ending}"
            path.write_bytes(data)
            self._call(command, {"cmd": command, "url": path.as_uri()})

    def ask(self, question: str) -> str:
        """Return the answer of ds9 to a question; empty where it refuses."""
        answer = self._answer({"samp.mtype": _GET, "samp.params": {"cmd": question}}, question)
        return str(answer.get("samp.result", {}).get("value", "")).strip()

    def close(self) -> None:
        """Leave the hub."""
        if self.client.is_connected:
            self.client.disconnect()

    def _call(self, command: str, parameters: dict[str, str]) -> None:
        answer = self._answer({"samp.mtype": _SET, "samp.params": parameters}, command)
        if answer["samp.status"] != "samp.ok":
            reason = answer.get("samp.error", {}).get("samp.errortxt", "no reason given")
            raise DisplayRefused(
                f"ds9 {self.target!r} refuses {command!r}: {' '.join(reason.split())}; correct "
                "the command, see the XPA page of ds9's help",
                target=self.target,
                command=command,
            )

    def _answer(self, message: dict[str, Any], command: str) -> Any:
        """Send a message and return the answer.

        Not with the client's ``call_and_wait``: the hub of astropy loses answers that come before
        it has noted the question, once in some hundred.
        """
        answers: queue.Queue[Any] = queue.Queue()
        tag = uuid.uuid4().hex
        self.client.bind_receive_response(tag, lambda _key, _sender, _tag, a: answers.put(a))
        try:
            self.client.call(self.target, tag, message)
            return answers.get(timeout=_TIMEOUT)
        except queue.Empty:
            reason = f"no answer within {_TIMEOUT:g} s"
        except Exception as error:  # the client has a dozen types, XML-RPC among them
            reason = " ".join(str(error).split())
        finally:
            self.client.unbind_receive_response(tag)
        raise DisplayNotAvailable(
            f"ds9 {self.target!r} does not take {command!r} over SAMP ({reason}); start ds9 again",
            target=self.target,
        )


def find_samp() -> Samp:
    """Return the connection to the first ds9 on the SAMP hub that runs.

    Raises
    ------
    DisplayNotAvailable
        If no hub runs, or no ds9 is connected to it.
    """
    client = _client()
    try:
        client.connect()
    except Exception as error:  # no hub: one of several types
        raise DisplayNotAvailable(
            f"no SAMP hub runs ({' '.join(str(error).split())}); start one (TOPCAT, Aladin) "
            "and then ds9, or use backend='xpa'"
        ) from error
    for name in client.get_registered_clients():
        if _SET in client.get_subscriptions(name):
            return Samp(client, str(name))
    client.disconnect()
    raise DisplayNotAvailable(
        "a SAMP hub runs, but no ds9 is connected to it; in ds9 choose File > SAMP > Connect"
    )


def _client() -> Any:
    for home in _HOMES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # astropy 8 announces the move
                samp = importlib.import_module(home)
                return samp.SAMPIntegratedClient(name="skyloom", description="Skyloom display")
        except ImportError:
            continue
    raise DisplayNotAvailable(
        "this astropy has no SAMP any more; install pyvo, or use backend='xpa'"
    )
