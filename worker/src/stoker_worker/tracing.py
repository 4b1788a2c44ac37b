"""The shell around `profiling.py`: who asks for a trace, and the files of it.

The server's thread answers; it reads the state, and posts what a client wants into the queue of the
loop that owns the state. Files are read in pieces, so that a slow client holds nobody up, and one
whose connection breaks goes on where it was.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Callable, Dict, List, Optional, Union

from stoker_worker import profiling
from stoker_worker.contract import PATH_PROFILE, PROFILE_PIECE_BYTES, PROFILE_STEPS
from stoker_worker.events import (
    Event,
    ProfileDone,
    ProfileEnough,
    ProfileHeard,
    ProfileWanted,
)
from stoker_worker.server import Pending, Response
from stoker_worker.state import Profile, Stage, State

_PATH = re.compile(PATH_PROFILE + r"/([0-9a-f]{8,64})(?:/(begin|stop|end|file)((?:/\d{1,15})*))?")
_GONE = Response(409, "there is no such trace: it was dropped, or its client was not heard of\n")
_WITHOUT = Response(409, "the engine was started without its profiler\n")


class Tracing:
    """Answers what is asked below PATH_PROFILE."""

    def __init__(
        self, folder: str, state: Callable[[], State], post: Callable[[Event], None]
    ) -> None:
        self._folder = Path(folder) if folder else None
        self._state = state
        self._post = post
        self._begun: Dict[str, Pending] = {}

    def answer(self, method: str, path: str) -> Union[Response, Pending, None]:
        """Answer one request; called by the server's thread."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        token, verb, rest = found.groups()
        numbers = [int(each) for each in (rest or "").split("/")[1:]]
        if (method, verb, len(numbers)) == ("POST", "begin", 1):
            return self._begin(token, numbers[0])
        if (method, verb, len(numbers)) == ("POST", "stop", 0):
            return self._tell(token, ProfileEnough(token))
        if (method, verb, len(numbers)) == ("POST", "end", 0):
            return self._tell(token, ProfileDone(token))
        if (method, verb, len(numbers)) == ("GET", None, 0):
            return self._tell(token, ProfileHeard(token))
        if (method, verb, len(numbers)) == ("GET", "file", 2):
            return self._piece(token, *numbers)
        return None

    def told(self, event: Event) -> None:
        """Say what became of a wish; called by the loop once it has taken it in."""
        if not isinstance(event, ProfileWanted):
            return
        pending = self._begun.pop(event.token, None)
        if pending is None:
            return
        state = self._state()
        if state.profile is not None and state.profile.token == event.token:
            pending.give(Response(202, self._page(state.profile), "application/json"))
        else:
            pending.give(Response(409, profiling.refusal(state) + "\n"))

    def drop(self) -> None:
        """Remove all files."""
        for path in self._files():
            with suppress(OSError):
                path.unlink()

    def _begin(self, token: str, steps: int) -> Union[Response, Pending]:
        if self._folder is None:
            return _WITHOUT
        pending = self._begun[token] = Pending()
        self._post(ProfileWanted(token, max(1, min(PROFILE_STEPS, steps))))
        return pending

    def _tell(self, token: str, event: Event) -> Response:
        profile = self._profile(token)
        if profile is None:
            return _WITHOUT if self._folder is None else _GONE
        self._post(event)
        return Response(200, self._page(profile), "application/json")

    def _piece(self, token: str, number: int, at: int) -> Response:
        profile = self._profile(token)
        if profile is None or profile.stage is not Stage.WRITTEN:
            return _GONE
        self._post(ProfileHeard(token))
        try:
            with self._files()[number].open("rb") as file:
                file.seek(at)
                piece = file.read(PROFILE_PIECE_BYTES)
        except (OSError, IndexError):
            return _GONE
        return Response(200, "", "application/octet-stream", piece)

    def _profile(self, token: str) -> Optional[Profile]:
        profile = self._state().profile
        return profile if profile is not None and profile.token == token else None

    def _page(self, profile: Profile) -> str:
        state = self._state()
        page = {
            "stage": profile.stage.value,
            "fault": profile.fault,
            "steps": profile.steps,
            "ready": state.ready,
            "files": self._listed() if profile.stage is Stage.WRITTEN else [],
        }
        return json.dumps(page) + "\n"

    def _listed(self) -> List[Dict[str, Union[str, int]]]:
        return [{"name": path.name, "bytes": path.stat().st_size} for path in self._files()]

    def _files(self) -> List[Path]:
        if self._folder is None:
            return []
        with suppress(OSError):
            return sorted(
                path for path in self._folder.iterdir() if path.is_file() and not path.is_symlink()
            )
        return []
