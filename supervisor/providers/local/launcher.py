"""The launcher: turns into a long-lived process that no longer hangs on the supervisor. Standard library only.

Run as `python -I -S launcher.py FOLDER GENERATION`; what to start stands in FOLDER/launch.json (argv, cwd, environment,
log). It imports nothing of Sickbay, so that it starts in milliseconds and an upgrade can't break it half-way.

1. Fork twice and open a session: the process belongs to init and to nobody's terminal.
2. Take the folder's lock. The started process inherits it, so for as long as one lives there is no second.
3. Under the lock, ask whether this start is still wanted: a late launcher never revives what was stopped meanwhile.
4. Write process.json, durably: from here on this start counts as made, however it ends.
5. Become the program.

GENERATION numbers the starts of an instance: each is made at most once. 0 means that being alone is enough.
Exit code 0: the process runs, or ran, or another launcher is at it. 3: it could not be started, stderr says why.
"""

import fcntl
import json
import os
import signal
import sys

SETTLED = ("busy", "already", "unwanted")


def main(folder: str, generation: int) -> int:
    """Start the process and wait until it has become the program."""
    reader, writer = os.pipe()  # closed by exec: then all went well
    if os.fork() == 0:
        if os.fork() != 0:
            os._exit(0)  # the grandchild now belongs to init
        os.close(reader)
        try:
            answer = become(folder, generation)
        except BaseException as error:  # noqa: BLE001  # whatever it is, the waiting parent must be told
            answer = f"{type(error).__name__}: {error}"
        os.write(writer, answer.encode("utf-8", "replace")[:2000])
        os._exit(0 if answer in SETTLED else 127)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read().decode("utf-8", "replace")
    os.wait()
    if answer and answer not in SETTLED:
        print(answer, file=sys.stderr)
        return 3
    return 0


def become(folder: str, generation: int) -> str:
    """Return why there is nothing to start; never returns otherwise."""
    os.setsid()
    os.chdir(folder)
    lock = os.open("lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "busy"
    if generation:
        machine = read("machine.json")
        if any(machine.get(flag) for flag in ("isolated", "stopped", "terminating")):
            return "unwanted"
        if generation != max(number for _, number in machine["starts"]):
            return "unwanted"  # a newer start was asked for
        if read("process.json").get("generation", 0) >= generation:
            return "already"
    spec = read("launch.json")
    log = os.open(spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    write_process(generation)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # Python ignores these; a program expects the defaults.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.chdir(spec["cwd"])
        os.execve(spec["argv"][0], spec["argv"], spec["environment"])
    except OSError as error:
        os.write(2, f"sickbay: {spec['argv'][0]} can't be started: {error.strerror}\n".encode())
        raise


def read(name: str) -> dict:  # type: ignore[type-arg]  # JSON, in a program that must import nothing
    """Return a JSON file's object, or an empty one."""
    try:
        with open(name, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def write_process(generation: int) -> None:
    """Say durably who runs."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:
        started = int(file.read().rpartition(")")[2].split()[19])
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    identity = {"pid": os.getpid(), "started": started, "boot": boot, "generation": generation}
    with open(".process.json.part", "w", encoding="utf-8") as file:
        json.dump(identity, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(".process.json.part", "process.json")
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
