"""A private nginx in a temporary folder, as a proxy before workers."""

import urllib.error
import urllib.request

from .nginx_program import find_nginx
from .process import ChildProcess
from .server import Server

__all__ = ["Nginx"]

_START_TIMEOUT = 20.0

_FRAME = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{servers}
}}
"""


class Nginx(Server):
    """A web server.

    Parameters
    ----------
    servers
        Its configuration: the blocks ``upstream`` and ``server``.
    port
        The port of 127.0.0.1 on which it listens, according to its configuration.

    Raises
    ------
    ServerUnavailableError
        The program cannot be had on this machine.
    """

    def __init__(self, servers: str, port: int) -> None:
        self._program = find_nginx()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__("nginx")
        (self._folder / "nginx.conf").write_text(_FRAME.format(servers=servers))

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = ChildProcess(
            [self._program, "-p", self._folder, "-c", "nginx.conf", "-e", "stderr"],
            log=self.log,
            cwd=self._folder,
        )
        self._wait_for_answer(self._answers, _START_TIMEOUT)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
