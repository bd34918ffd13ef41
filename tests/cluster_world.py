"""Runs inside a world (`namespaces`): three hosts with sshd, `ray up`, a search over them, probes, `ray down`.

    python cluster_world.py WORK_FOLDER CHECKOUT

Writes what it saw to WORK_FOLDER/report.json, for test_ray_up.py to judge. The process that runs this is the laptop:
it reaches the hosts over a bridge that leads nowhere else.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import namespaces
import psutil
import yaml

HOSTS = {"head": "10.77.0.10", "first": "10.77.0.11", "second": "10.77.0.12"}
LAPTOP = "10.77.0.1"
RAYS_OWN = ("raylet", "gcs_server", "ray::", "ray/dashboard", "ray/autoscaler", "ray/_private", "runtime_env/agent")
# Questions that answer at once where nobody asks for the token.
QUESTIONS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.NodeManagerService/GetNodeStats",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.ObjectManagerService/FreeObjects",
    "/ray.rpc.ReporterService/GetTraceback",
    "/ray.rpc.LogService/ListLogs",
    "/ray.rpc.RayletDriver/GetInfo",
)


def run(*command: str, timeout: float = 120, check: bool = True) -> str:
    """What a command prints on both streams."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, errors="replace"
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class World:
    """The laptop and its hosts."""

    def __init__(self, work: Path, checkout: Path) -> None:
        self.work, self.checkout = work, checkout
        self.hosts: dict[str, subprocess.Popen[bytes]] = {}
        self.report: dict[str, Any] = {"seconds": {}}
        self.python = str(Path(sys.prefix) / "bin" / "python")

    def step(self, name: str, started: float) -> None:
        """Keep how long a step took."""
        self.report["seconds"][name] = round(time.monotonic() - started, 1)
        print(f"{name}: {self.report['seconds'][name]} s", flush=True)

    def build(self) -> None:
        """A bridge, and for each host a cable to it, an sshd and a home folder of its own."""
        run("ip", "link", "add", "bridge", "type", "bridge")
        run("ip", "address", "add", f"{LAPTOP}/24", "dev", "bridge")
        run("ip", "link", "set", "bridge", "up")
        # No way out; without any route at all Ray would take 127.0.0.1 for its address.
        run("ip", "route", "add", "default", "via", HOSTS["head"])
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.work / "key"))
        (self.work / "share").mkdir()
        for name in HOSTS:
            self._start_host(name)
        deadline = time.monotonic() + 30
        for address in HOSTS.values():
            while not _listens(address, 22):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"no sshd at {address}: {(self.work / 'hosts.log').read_text()}")
                time.sleep(0.1)

    def _start_host(self, name: str) -> None:
        key = self.work / f"host-{name}"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        settings = self.work / f"sshd-{name}"
        settings.write_text(
            f"Port 22\nHostKey {key}\nAuthorizedKeysFile {self.work}/key.pub\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\nPidFile none\nMaxStartups 100\n"
            f"Subsystem sftp internal-sftp\nSetEnv PATH={os.environ['PATH']} RAY_USAGE_STATS_ENABLED=0\n"
        )
        inside = (
            f"until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done; hostname {name}; "
            f"ip address add {HOSTS[name]}/24 dev eth0; ip link set eth0 up; ip route add default via {LAPTOP}; "
            f"mkdir /mnt/share; mount --bind {self.work}/share /mnt/share; "
            f"ln -s {sys.prefix} ~/catdog_venv; exec $(command -v sshd) -D -e -f {settings}"
        )
        command = namespaces.world_command(["bash", "-c", inside], kept=[self.work])
        with (self.work / "hosts.log").open("ab") as log:
            host = subprocess.Popen(command, stdout=log, stderr=log)
        self.hosts[name] = host
        while _network(host.pid) in (None, _network(os.getpid())):
            time.sleep(0.02)
        run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
        run("ip", "link", "set", f"to-{name}", "master", "bridge", "up")

    def fill_in(self) -> Path:
        """configs/cluster/local.yaml with the hosts; smaller, and nothing installed because the hosts share Python."""
        text = (self.checkout / "configs/cluster/local.yaml").read_text(encoding="utf-8")
        for placeholder, value in {
            "YOUR-HEAD": HOSTS["head"],
            "YOUR-FIRST-WORKER, YOUR-SECOND-WORKER": f"{HOSTS['first']}, {HOSTS['second']}",
            "YOUR-USER": "root",
            "~/.ssh/id_ed25519": str(self.work / "key"),
            "YOUR-SHARE": "share",
        }.items():
            assert placeholder in text, placeholder
            text = text.replace(placeholder, value)
        path = self.work / "filled.yaml"
        path.write_text(text, encoding="utf-8")
        self.report["check"] = run(self.python, "scripts/check_cluster.py", str(path), check=False)
        config = yaml.safe_load(text)
        config["setup_commands"] = [
            c for c in config["setup_commands"] if "-m venv" not in c and "pip install" not in c
        ]
        for key, flags in (("head", ""), ("worker", " --num-cpus=1")):
            name = f"{key}_start_ray_commands"
            config[name] = [
                # Which state of the package a worker imports: what `ray up` has put there, not what is installed here.
                command.replace("RAY_AUTH_MODE=token", "PYTHONPATH=$HOME/catdog_ray RAY_AUTH_MODE=token").replace(
                    "ray start", f"ray start{flags} --object-store-memory=100000000"
                )
                for command in config[name]
            ]
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return path

    def ray(self, *arguments: str, timeout: float = 180, check: bool = True) -> str:
        """One of Ray's commands, on the laptop, from the root of the checkout."""
        return run(str(Path(sys.prefix) / "bin" / "ray"), *arguments, timeout=timeout, check=check)

    def on_head(self, file: Path, command: str, *, timeout: float = 240, check: bool = True) -> str:
        """A command on the head, in the checkout there, as the README says it."""
        return self.ray("exec", str(file), f"cd ~/catdog_ray && {command}", timeout=timeout, check=check)

    def await_workers(self, file: Path) -> None:
        """Until Ray on the head counts three nodes."""
        deadline = time.monotonic() + 120
        while True:
            status = self.on_head(file, "ray status", check=False)
            if "2.0 CPU" in status or "/2.0" in status:
                return
            if time.monotonic() > deadline:
                monitor = self.on_head(file, "tail -n 15 /tmp/ray/session_latest/logs/monitor.*", check=False)
                raise RuntimeError(f"the workers did not join: {monitor}\n{status}")
            time.sleep(1)

    def rays(self) -> dict[str, list[str]]:
        """Ray's processes, by the host whose network they have."""
        names = {_network(host.pid): name for name, host in self.hosts.items()}
        found: dict[str, list[str]] = {}
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if any(word in line for word in RAYS_OWN) and not line.startswith(("ssh ", "bash", "/bin/bash")):
                found.setdefault(names.get(_network(process.pid), "laptop"), []).append(line[:120])
        return found

    def search(self, file: Path, *, name: str, storage: Path, watch: bool) -> tuple[int, str]:
        """`tune` on the head; with `watch`, ports are probed and workers counted while it runs."""
        settings = {
            "data.image_size": 16,
            "data.drawn_train": 60,
            "data.drawn_test": 20,
            "space.conv_filters": "{choices: [2, 4]}",
            "space.dense_units": "{choices: [8, 16]}",
            "baseline.conv_filters": 4,
            "baseline.dense_units": 16,
            "search.max_epochs": 20,
            "search.grace_epochs": 20,
            "train.checkpoint_epochs": 5,
            "cluster.storage_path": storage,
        }
        sets = " ".join(f"--set '{key}={value}'" for key, value in settings.items())
        flags = f"--address auto --num-samples 4 --no-retrain --name {name} {sets}"
        words = f"cd ~/catdog_ray && python -m catdog_ray.tune {flags}"
        log = self.work / f"{name}.log"
        with log.open("wb") as output:
            driver = subprocess.Popen(
                [str(Path(sys.prefix) / "bin" / "ray"), "exec", str(file), words], stdout=output, stderr=output
            )
            trials_on: set[str] = set()
            deadline = time.monotonic() + 240
            while driver.poll() is None and time.monotonic() < deadline:
                if watch:
                    running = self.rays()
                    trials_on |= {
                        h for h, lines in running.items() if any(line.startswith("ray::Trial") for line in lines)
                    }
                    if len(trials_on) == 2 and "ports" not in self.report:
                        self.report["ports"] = list(self.probe())
                        self.report["processes"] = {host: sorted(set(lines)) for host, lines in running.items()}
                time.sleep(0.3)
            if driver.poll() is None:
                driver.kill()
        if watch:
            self.report["trials_on"] = sorted(trials_on)
        return driver.wait(), log.read_text(encoding="utf-8", errors="replace")

    def probe(self) -> Iterator[dict[str, Any]]:
        """Ask every port that is open on a host, without a token, from outside."""
        for name, host in self.hosts.items():
            listening = list(_listening(host.pid))
            outside = {port for address, port, _ in listening if not _is_loopback(address)}
            for address, port, owner in listening:
                if port == 22 or (_is_loopback(address) and port in outside):
                    continue
                seen = {"host": name, "bound": address, "port": port, "owner": owner}
                if _is_loopback(address):
                    yield {**seen, "reached": _listens(HOSTS[name], port)}
                else:
                    yield {**seen, "http": _ask_http(HOSTS[name], port), "grpc": _ask_grpc(HOSTS[name], port)}


def _network(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return None


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def _listening(pid: int) -> Iterator[tuple[str, int, str]]:
    """Address, port and process of every listening TCP socket in the network of `pid`."""
    listed = run("nsenter", "-t", str(pid), "-n", "ss", "-Hltnp")
    for line in listed.splitlines():
        _, _, _, local, _, *rest = line.split()
        address, _, port = local.rpartition(":")
        owner = rest[0].partition('"')[2].partition('"')[0] if rest else ""
        yield address.strip("[]").removeprefix("::ffff:"), int(port), owner


def _ask_http(address: str, port: int) -> dict[str, str]:
    """The first line of the answer to each of some requests, and what followed; empty where it is no HTTP."""
    found = {}
    for path in ("/", "/metrics", "/api/jobs/", "/nodes?view=summary", "/api/local_raylet_healthz"):
        try:
            with socket.create_connection((address, port), timeout=3) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while len(answer) < 10_000 and (more := connection.recv(4096)):
                    answer += more
            head, _, body = answer.partition(b"\r\n\r\n")
            first = head.split(b"\r\n")[0].decode("ascii", "replace")
            kind = "metrics" if body.startswith(b"# HELP ") else body[:40].decode("ascii", "replace")
            found[path] = f"{first}: {kind}" if first.startswith("HTTP/") else ""
        except OSError as error:
            found[path] = "" if isinstance(error, TimeoutError | ConnectionResetError) else type(error).__name__
    return found


def _ask_grpc(address: str, port: int) -> dict[str, str]:
    """The status of each of some calls, without a token."""
    found = {}
    with grpc.insecure_channel(f"{address}:{port}") as channel:
        for method in QUESTIONS:
            call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
            try:
                call(b"", timeout=2)
                found[method] = "OK"
            except grpc.RpcError as error:
                found[method] = error.code().name
                if found[method] in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                    break
    return found


def main(work: Path, checkout: Path) -> None:
    """The whole story; what has been seen so far is written down even where a step fails."""
    world = World(work, checkout)
    os.chdir(checkout)
    try:
        started = time.monotonic()
        world.build()
        world.ray("get-auth-token", "--generate")
        file = world.fill_in()
        world.step("build", started)
        started = time.monotonic()
        world.report["up"] = world.ray("up", "-y", "--no-config-cache", str(file))
        world.step("ray up", started)
        started = time.monotonic()
        world.await_workers(file)
        world.step("workers", started)
        started = time.monotonic()
        code, said = world.search(file, name="hosts", storage=Path("/mnt/share/catdog"), watch=True)
        world.report["search"] = {"code": code, "said": said}
        world.step("search", started)
        started = time.monotonic()
        code, said = world.search(file, name="alone", storage=Path("/tmp/one-host-only"), watch=False)
        world.report["local_storage"] = {"code": code, "said": said}
        world.step("refused search", started)
        world.ray("rsync-down", str(file), "~/catdog_ray/results/", f"{work}/results/")
        world.report["before_down"] = world.rays()
        started = time.monotonic()
        world.report["down"] = world.ray("down", "-y", str(file))
        deadline = time.monotonic() + 60
        while world.rays() and time.monotonic() < deadline:
            time.sleep(0.5)
        world.report["left"] = world.rays()
        world.report["left_ports"] = [
            [name, port] for name, host in world.hosts.items() for _, port, _ in _listening(host.pid) if port != 22
        ]
        world.step("ray down", started)
    finally:
        (work / "report.json").write_text(json.dumps(world.report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
