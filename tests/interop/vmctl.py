#!/usr/bin/python3
"""vmctl.py - runs things in a test guest through its QEMU guest agent (no network needed).

usage: vmctl.py exec [-t SECONDS] NAME 'shell command'    output and exit status come through
       vmctl.py wait NAME [SECONDS]                       wait for the agent
       vmctl.py kill NAME                                 end QEMU by its process id (the guest has nothing to flush)
The folder of a guest is $STATE/NAME (pid, qga.sock, console.log).
"""
import base64
import fcntl
import json
import os
import random
import signal
import socket
import sys
import time

STATE = os.environ["STATE"]


def call(name, command, timeout=10, **args):
    """One request to the agent."""
    folder = f"{STATE}/{name}"
    with open(folder + "/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(timeout)
            s.connect(folder + "/qga.sock")
            lines = s.makefile("rb")

            def line():
                text = lines.readline()
                if not text:
                    raise OSError("agent closed")
                return text

            # 0xff resets the agent's parser, and its answer to the sync follows a 0xff: older leftovers are skipped
            token = random.randint(1, 2**31)
            s.sendall(b"\xff" + request("guest-sync-delimited", id=token))
            while True:
                try:
                    if json.loads(line().rsplit(b"\xff", 1)[-1]).get("return") == token:
                        break
                except ValueError:
                    pass
            s.sendall(request(command, **args))
            answer = json.loads(line())
            if "error" in answer:
                raise RuntimeError(answer["error"].get("desc", str(answer["error"])))
            return answer["return"]


def request(command, **args):
    return json.dumps({"execute": command, "arguments": args}).encode() + b"\n"


def execute(name, shell, timeout):
    pid = call(name, "guest-exec", path="/bin/bash", arg=["-c", shell], **{"capture-output": True})["pid"]
    end, nap = time.time() + timeout, 0.02
    while time.time() < end:
        status = call(name, "guest-exec-status", pid=pid)
        if status["exited"]:
            out, err = (base64.b64decode(status.get(k, "")) for k in ("out-data", "err-data"))
            return status.get("exitcode", 128 + status.get("signal", 0)), out, err
        time.sleep(nap)
        nap = min(nap * 1.5, 0.3)
    return 124, b"", b"vmctl: timed out (the command goes on in the guest)\n"


def qemu(name):
    """Process id of the guest's QEMU; 0 when it is gone (or the number belongs to another process by now)."""
    try:
        pid = int(open(f"{STATE}/{name}/pid").read())
        return pid if f"-name\0{name}\0" in open(f"/proc/{pid}/cmdline").read() else 0
    except (OSError, ValueError):
        return 0


def wait(name, seconds):
    end = time.time() + seconds
    while time.time() < end:
        try:
            call(name, "guest-ping", timeout=1)
            return 0
        except (OSError, ValueError, RuntimeError):
            pass
        if not qemu(name):
            break
        time.sleep(0.05)
    print(f"{name}: no agent; see {STATE}/{name}/console.log", file=sys.stderr)
    return 1


def kill(name):
    pid = qemu(name)
    if pid:
        os.kill(pid, signal.SIGKILL)
        for _ in range(50):
            if not qemu(name):
                break
            time.sleep(0.1)
    return 0


def main(argv):
    if argv[:1] == ["exec"]:
        seconds = 60.0
        if argv[1] == "-t":
            seconds, argv = float(argv[2]), argv[2:]
        code, out, err = execute(argv[1], " ".join(argv[2:]), seconds)
        sys.stdout.buffer.write(out)
        sys.stdout.flush()
        sys.stderr.buffer.write(err)
        return code
    if argv[:1] == ["wait"]:
        return wait(argv[1], float(argv[2]) if len(argv) > 2 else 60)
    if argv[:1] == ["kill"]:
        return kill(argv[1])
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
