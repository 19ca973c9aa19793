"""Runs inside the guest: takes commands from the host over a virtio-serial port, which no rule on the network cuts off.

One JSON object a line. From the host {"id", "verb": "run", "command", "timeout_s", "input"} or {"id", "verb": "ping"};
to the host {"id", "out": base64} as it comes, then {"id", "status": n}; {"ready": boot id} when the agent starts.
"""

import base64
import json
import os
import select
import signal
import subprocess
import threading
import time
from typing import IO, Any, Iterator

PORT = "/dev/virtio-ports/org.nbspd.lab"
TIMED_OUT = 124             # as timeout(1) has it
CHUNK_SIZE_BYTES = 32768
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
               "HOME": "/root", "LOGNAME": "root", "USER": "root", "SHELL": "/bin/bash",
               "TERM": "dumb", "PAGER": "cat", "SYSTEMD_COLORS": "0"}


class Port:
    """The host's end of the line; writes of several threads do not mix."""

    def __init__(self) -> None:
        self._fd = os.open(PORT, os.O_RDWR)
        self._writing = threading.Lock()
        self._rest = b""

    def send(self, message: dict[str, Any]) -> None:
        """Send one message whole."""
        data = json.dumps(message).encode() + b"\n"
        with self._writing:
            while data:
                data = data[os.write(self._fd, data):]

    def lines(self) -> Iterator[bytes]:
        """Yield the host's lines, for ever."""
        while True:
            data = os.read(self._fd, 65536)
            if not data:                # nobody is connected on the host; the port has no way to wait for that
                time.sleep(0.1)
                continue
            *whole, self._rest = (self._rest + data).split(b"\n")
            yield from whole


def run(port: Port, request: dict[str, Any]) -> None:
    """Run one command and report until it ends; what it left running in the background keeps running."""
    number = request["id"]
    try:
        with subprocess.Popen(["/bin/bash", "-c", request["command"]], bufsize=0, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, cwd="/root",
                              start_new_session=True) as process:
            assert process.stdin
            content = base64.b64decode(request["input"])
            threading.Thread(target=feed, args=(process.stdin, content), daemon=True).start()
            status = follow(port, number, process, time.monotonic() + request["timeout_s"])
    except OSError as error:            # the rules under test may deny the agent itself
        port.send({"id": number, "out": base64.b64encode(f"agent: {error}\n".encode()).decode()})
        status = 126
    port.send({"id": number, "status": status})


def feed(stdin: IO[bytes], content: bytes) -> None:
    """Write a command's standard input and close it."""
    try:
        with stdin:
            stdin.write(content)
    except OSError:
        pass


def follow(port: Port, number: int, process: "subprocess.Popen[bytes]", deadline: float) -> int:
    """Pass a command's output on until it exits or its time is up; return its exit status."""
    assert process.stdout
    output = process.stdout.fileno()
    os.set_blocking(output, False)
    pidfd = os.pidfd_open(process.pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(output, select.POLLIN)
    timed_out = False
    try:
        while True:
            ready = dict(poll.poll(max(0, deadline - time.monotonic()) * 1000))
            if not ready and not timed_out:
                timed_out = True
                os.killpg(process.pid, signal.SIGKILL)
                deadline = time.monotonic() + 3600
                continue
            if output in ready and not forward(port, number, output):
                poll.unregister(output)
            if pidfd in ready:
                while forward(port, number, output):
                    pass
                status = process.wait()
                return TIMED_OUT if timed_out else status if status >= 0 else 128 - status
    finally:
        os.close(pidfd)


def forward(port: Port, number: int, output: int) -> bool:
    """Send one piece of output; return whether there was any."""
    try:
        piece = os.read(output, CHUNK_SIZE_BYTES)
    except BlockingIOError:
        return False
    if piece:
        port.send({"id": number, "out": base64.b64encode(piece).decode()})
    return bool(piece)


def main() -> None:
    """Answer the host for ever."""
    port = Port()
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        port.send({"ready": file.read().strip()})
    for line in port.lines():
        try:
            request = json.loads(line)
        except ValueError:              # the rest of a line that an earlier host did not finish
            continue
        if request["verb"] == "run":
            threading.Thread(target=run, args=(port, request), daemon=True).start()
        else:
            port.send({"id": request["id"], "status": 0})


if __name__ == "__main__":
    main()
