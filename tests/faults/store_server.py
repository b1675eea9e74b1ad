"""An S3 server of moto's in a process of its own, which fails as a file tells it to.

`python store_server.py FOLDER` serves until it is killed. `FOLDER/port` has its port as soon as it
answers; `FOLDER/fault` names what is wrong with it, and is empty while all is well.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

DELAY = 1.5  # seconds before each answer of a slow store
FULL = ("507 Insufficient Storage", b"<Error><Code>QuotaExceeded</Code></Error>")
REFUSING = ("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>")

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def faulty(sound: Application, told: Path) -> Application:
    """The same server, but for what the file `told` says."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        fault = told.read_text()
        if fault == "slow":
            time.sleep(DELAY)
        deletes = "delete" in environ["QUERY_STRING"]
        writes = environ["REQUEST_METHOD"] in ("PUT", "POST") and not deletes
        if fault == "refusing" or (fault == "full" and writes):
            status, body = FULL if fault == "full" else REFUSING
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(status, [("Content-Type", "application/xml")])
            return [body]
        return sound(environ, start_response)

    return answer


def serve(folder: Path) -> None:
    """Serves; while the fault is `gone`, nothing listens, and what is stored is kept."""
    told, port = folder / "fault", 0
    application = faulty(DomainDispatcherApplication(create_backend_app), told)
    while True:
        server = make_server(
            "127.0.0.1", port, application, threaded=True, request_handler=MotoRequestHandler
        )
        port = server.port
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        (folder / "port.partial").write_text(str(port))
        (folder / "port.partial").rename(folder / "port")
        while told.read_text() != "gone":
            time.sleep(0.1)
        server.shutdown()
        serving.join()  # it closes the socket at its end
        while told.read_text() == "gone":
            time.sleep(0.1)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
