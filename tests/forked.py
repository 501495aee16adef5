"""Programs in processes of their own, forked from one that has only imported what they need.

Each such process would otherwise spend two seconds on importing torch, six on Lightning or on the Trainer. A program
that is started here is as fresh as one of `python`: the server imports, and runs nothing else. What an interpreter must
read from its environment when it starts, and tests of what is imported, take a real `subprocess`.

    ran = forked.run("-m", "tests.torch.resumed", folder, needs=forked.TORCH)
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
ADDRESS = "CYCLR_TESTS_FORKED"  #: the environment variable that tells xdist's workers where the server listens
TORCH = (
    "torch",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "scipy.stats",
    "cyclr.torch",
)  # torch._dynamo: with the first optimizer
ACCELERATE = (*TORCH, "accelerate")
TRAINER = (*TORCH, "transformers.trainer")
LIGHTNING = (*TORCH, "lightning")
KERAS = ("keras", "cyclr.keras", "scipy.stats")  # on the backend that the program's KERAS_BACKEND names
BACKENDS = ("jax", "torch")  # of Keras: each has a server of its own, as Keras takes its backend when it is imported
LONGEST = 600  #: seconds of a program; then it is killed
BYTES = 65536  #: of a request


class Program:
    """As `subprocess.Popen`: `pid`, `poll`, `wait`, `kill`, `send_signal`, `communicate`, `stdout`, `stderr`."""

    def __init__(
        self,
        *command: object,
        needs: Sequence[str],
        cwd: str | Path = ROOT,
        env: Mapping[str, str] | None = None,
        stderr: int = subprocess.PIPE,
        terminal: int | None = None,
    ) -> None:
        read, write = os.pipe()
        self.stdout = os.fdopen(read, encoding="utf-8")
        self.stderr: IO[str] | None = None
        errors = write
        if terminal is not None:  # a descriptor, in place of both pipes
            os.dup2(terminal, write)
        elif stderr == subprocess.PIPE:
            read, errors = os.pipe()
            self.stderr = os.fdopen(read, encoding="utf-8")
        request = {"command": [str(part) for part in command], "needs": needs, "cwd": str(cwd)}
        request["env"] = env = dict(os.environ if env is None else env)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(os.environ[ADDRESS] + (env["KERAS_BACKEND"] if "keras" in needs else ""))
        socket.send_fds(self._server, [json.dumps(request).encode()], [write, errors])
        for descriptor in {write, errors}:
            os.close(descriptor)
        self._answers = self._server.makefile("r")
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, or minus the signal that ended it."""
        if self.returncode is None:
            self._server.settimeout(timeout)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._server.close()
        return self.returncode

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        with selectors.DefaultSelector() as selector:
            if self.returncode is None:
                selector.register(self._server, selectors.EVENT_READ)
                if not selector.select(0):
                    return None
        return self.wait()

    def send_signal(self, number: int) -> None:
        """Send a signal if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it writes, until it ends."""
        errors: list[str] = []
        reader = threading.Thread(
            target=lambda: errors.append("" if self.stderr is None or self.stderr.closed else self.stderr.read())
        )
        reader.start()
        out = "" if self.stdout.closed else self.stdout.read()
        reader.join()
        self.wait(timeout)
        self.stdout.close()
        if self.stderr is not None:
            self.stderr.close()
        return out, errors[0]


def run(*command: object, check: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run`, of `-m MODULE`, `-c CODE` or a file, and its arguments; captures what it writes."""
    program = Program(*command, **options)
    out, errors = program.communicate()
    done = subprocess.CompletedProcess(command, program.wait(), out, errors)
    if check:
        assert done.returncode == 0, errors
    return done


def ranks(*command: object, needs: Sequence[str], cwd: str | Path = ROOT, number: int = 2) -> list[str]:
    """What the processes of a distributed program write; each has the environment that torchrun gives it."""
    with started_ranks(*command, needs=needs, cwd=cwd, number=number) as programs:
        written = [program.communicate() for program in programs]
    for program, (out, errors) in zip(programs, written, strict=True):
        assert program.wait() == 0, out + errors
    return [out for out, _ in written]


@contextlib.contextmanager
def started_ranks(
    *command: object, needs: Sequence[str], cwd: str | Path = ROOT, number: int = 2
) -> Iterator[list[Program]]:
    """The processes of a distributed program; those that still run are killed at the end."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun: the port is free for sure
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    shared |= {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), "GROUP_RANK": "0"}
    shared |= {"TORCHELASTIC_RUN_ID": "forked", "TORCHELASTIC_RESTART_COUNT": "0"}
    programs = [
        Program(*command, needs=needs, cwd=cwd, env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(number)
    ]
    try:
        yield programs
    finally:
        for program in programs:
            program.kill()
            program.communicate()


# ---------------------------------------------------------------- the server


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """The servers for all tests of a session; each imports when it is first asked to."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        address = str(Path(folder, "forked"))
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = os.environ | {"PYTHONPATH": path}
        stack.enter_context(_server(address, environment))
        for backend in BACKENDS:
            stack.enter_context(_server(address + backend, environment | {"KERAS_BACKEND": backend}))
        os.environ[ADDRESS] = address
        try:
            yield
        finally:
            del os.environ[ADDRESS]


@contextlib.contextmanager
def _server(address: str, environment: Mapping[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.forked", address]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE) as server:
        try:
            while not Path(address).exists() and server.poll() is None:
                time.sleep(0.002)
            yield
        finally:
            server.stdin.close()  # type: ignore[union-attr]


def serve(address: str) -> None:
    """Fork a process for each request, until stdin is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen(16)
    Path(address + ".new").rename(address)
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    selector = selectors.DefaultSelector()
    for source in (sys.stdin, listener, woken):
        selector.register(source, selectors.EVENT_READ)
    running: dict[int, tuple[float, socket.socket]] = {}
    while True:
        ready = [key.fileobj for key, _ in selector.select(LONGEST / 10)]
        over = time.monotonic() - LONGEST
        for pid in [pid for pid, (begun, _) in running.items() if begun < over or sys.stdin in ready]:
            os.kill(pid, signal.SIGKILL)
        if sys.stdin in ready:  # the session is over
            for pid in running:
                os.waitpid(pid, 0)
            return
        if listener in ready:
            client, _ = listener.accept()
            pid = _forked(client)
            running[pid] = time.monotonic(), client
            client.sendall(f"{pid}\n".encode())
        if woken in ready:
            woken.recv(4096)
            _report(running)


def _report(running: dict[int, tuple[float, socket.socket]]) -> None:
    """Tell of those that have ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        _, client = running.pop(pid)
        with client, contextlib.suppress(BrokenPipeError):
            client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _forked(client: socket.socket) -> int:
    """Import what the request needs, then fork."""
    text, descriptors, _, _ = socket.recv_fds(client, BYTES, 2)
    request = json.loads(text)
    for name in request["needs"]:
        if name not in sys.modules:
            with contextlib.suppress(ImportError):  # the program will say so
                importlib.import_module(name)
            gc.collect()
            gc.freeze()  # so that no child copies these pages only to look for rubbish
    pid = os.fork()
    if not pid:
        _become(request, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    return pid


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Be the program of the request: as `python` would start it, and to its end."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate([nothing, *descriptors]):
        os.dup2(descriptor, number)
    os.closerange(3, 64)
    _open_streams()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    code = 1
    try:
        _execute(request["command"])
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
    except BaseException:  # noqa: BLE001 (as the interpreter does with what nobody has caught)
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def _open_streams() -> None:
    """Those of the server know what its descriptors were, a terminal or a file; these ask anew."""
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        options: Any = {"buffering": 1 if os.isatty(number) or name == "stderr" else -1, "closefd": False}
        errors = "backslashreplace" if name == "stderr" else "strict"
        stream = os.fdopen(number, mode, encoding="utf-8", errors=errors, **options)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _execute(command: list[str]) -> None:
    kind, *rest = command
    if kind == "-m":
        sys.argv = rest
        sys.path.insert(0, "")
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv = command
        sys.path.insert(0, str(Path(kind).parent))
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
