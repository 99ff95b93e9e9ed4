"""An S3 service on this machine: moto's server, over HTTP."""

import urllib.request
from collections.abc import Iterable
from datetime import timedelta
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

import boto3
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from werkzeug.serving import make_server

from .ports import free_port

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from mypy_boto3_s3 import S3Client

__all__ = ["S3Door", "S3Server"]


class S3Server:
    """A private S3 service in a thread; it loses its objects when it ends.

    It does not change this process's environment; a process that uses it needs `environment`.
    """

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        # Moto keeps its buckets per process, not per server.
        reset = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset, timeout=10).close()
        self._server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which lsst.resources and boto3 find the service; any login works."""
        return {
            "S3_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            # Without this, boto3 looks for credentials in the user's home folder.
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_CONFIG_FILE": "/dev/null",
            # A proxy for external addresses must not be used for this machine.
            "NO_PROXY": "127.0.0.1",
        }

    def client(self) -> "S3Client":
        """Return a client of the service."""
        environment = self.environment
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def make_older(self, bucket: str, age: timedelta) -> None:
        """Make a bucket's objects appear older than they are; only the server can do this."""
        for backends in s3_backends.values():
            for backend in backends.values():
                if bucket in backend.buckets:
                    for key in backend.buckets[bucket].keys.values():
                        key.last_modified -= age

    def create_bucket(self, name: str) -> str:
        """Create a bucket and return its URI, ``s3://name/``."""
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}/"


class S3Door:
    """Another address of the same buckets: closed, frozen, full, empty or with fewer rights.

    Attributes
    ----------
    url
        The address.
    full
        Whether every request to store an object is answered with ``507 Insufficient Storage``.
    may_list
        Whether the credentials have the right ``s3:ListBucket``.  Without it, S3 answers 403 to a
        request for a list, and for an object that does not exist.  (Moto does not imitate that.)
    may_read
        Whether the credentials may read anything; otherwise, every answer is 403.
    refuses_key
        Whether every request is answered with ``403 InvalidAccessKeyId``.
    empty
        Whether every bucket looks empty, as when the store's disk is not mounted.
    """

    def __init__(self) -> None:
        self._port = free_port()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.url = f"http://127.0.0.1:{self._port}"
        self.full = False
        self.may_list = True
        self.may_read = True
        self.refuses_key = False
        self._answers = Event()
        self._answers.set()
        self.empty = False

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.thaw()
        self.shut()

    def freeze(self) -> None:
        """Accept requests, and answer none of them."""
        self._answers.clear()

    def thaw(self) -> None:
        """Answer again, also those requests that wait."""
        self._answers.set()

    def open(self) -> None:
        """Start to answer."""
        self._server = make_server(
            "127.0.0.1",
            self._port,
            self._answer,
            threaded=True,
            request_handler=MotoRequestHandler,
        )
        Thread(target=self._server.serve_forever, daemon=True).start()

    def shut(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        self._answers.wait()
        if self.refuses_key:
            return _deny(environ, start_response, "InvalidAccessKeyId")
        if self.full and environ["REQUEST_METHOD"] == "PUT":
            start_response("507 Insufficient Storage", [("Content-Length", "0")])
            return [b""]
        is_read = environ["REQUEST_METHOD"] in ("GET", "HEAD")
        is_list = is_read and environ["PATH_INFO"].strip("/").count("/") == 0
        if (is_read and not self.may_read) or (is_list and not self.may_list):
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        if self.empty and is_read:
            # The bucket is there; what is asked for is under a name that no object has.
            for name in ("PATH_INFO", "RAW_URI"):
                _, bucket, *key = environ[name].split("/", 2)
                environ[name] = "/".join(["", bucket, *(f"nothing/{name}" for name in key if name)])
            environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("prefix=", "prefix=nothing/")

        is_copy = "HTTP_X_AMZ_COPY_SOURCE" in environ
        statuses = []

        def respond(status: str, headers: Any, exc_info: Any = None) -> Any:
            statuses.append(status)
            if not is_missing():
                return start_response(status, headers, exc_info)
            return None

        def is_missing() -> bool:
            return (is_read or is_copy) and not self.may_list and statuses[0].startswith("404")

        answer: Iterable[bytes] = self._moto(environ, respond)
        if is_missing():
            return _deny(environ, start_response, "AccessDenied")
        return answer


def _deny(
    environ: "WSGIEnvironment", start_response: "StartResponse", code: str
) -> Iterable[bytes]:
    """Answer 403 as S3 does, with the reason; a HEAD request gets none."""
    body = f"<Error><Code>{code}</Code><Message>denied</Message></Error>".encode()
    if environ["REQUEST_METHOD"] == "HEAD":
        body = b""
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response("403 Forbidden", headers)
    return [body]
