"""One JSON object per line: time, level, reason, key, message. Never a spec, never a credential."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_FIELDS: Final = ("reason", "key", "pass_id")
_MESSAGE_LIMIT: Final = 4096


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Fixed fields first, in a fixed order, so that people can read them too."""
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        for name in _FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                line[name] = value
        line["message"] = record.getMessage()[:_MESSAGE_LIMIT]
        line["logger"] = record.name
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)[-_MESSAGE_LIMIT:]
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(level: str) -> None:
    """Send everything to standard error as JSON; libraries only what worries them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("stoker").setLevel(level.upper())
