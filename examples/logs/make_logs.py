"""Make the logs of this folder: three real Postfix instances under a small load, cut while sessions are open.

    sudo python make_logs.py OUTPUT_FOLDER

Needs Postfix (with smtp-sink) and root, because Postfix's master does. Everything runs on loopback in a
temporary folder: the system's own Postfix, if any, is not touched. Clients show their address with a PROXY
header, so the logs have addresses of the private and documentation ranges; domains are reserved ones
(RFC 2606).

Beside the logs it writes expected.json: what the clients themselves know, which messages of whom were
accepted and whose sessions are open at the cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

NODES = ("relay-0-1", "relay-0-2", "relay-0-3")
FIRST_PORT = 12_525
SINK_PORTS = {"ok": 12_601, "slow": 12_602, "soft": 12_603, "hard": 12_604, "busy": 12_605, "mailbox": 12_606}
REFUSED_PORT = 12_609  # nobody listens here

ROUTES = {
    "example.com": "smtp:[127.0.0.1]:{ok}",
    "example.net": "smtp:[127.0.0.1]:{ok}",
    "bigmail.example": "smtp:[127.0.0.1]:{ok}",
    "webpost.example": "smtp:[127.0.0.1]:{ok}",
    "university.example": "slow:[127.0.0.1]:{slow}",
    "greylist.test": "smtp:[127.0.0.1]:{soft}",
    "nobody.test": "smtp:[127.0.0.1]:{hard}",
    "overloaded.test": "smtp:[127.0.0.1]:{busy}",
    "down.test": f"smtp:[127.0.0.1]:{REFUSED_PORT}",
    "mailboxes.example": "lmtp:inet:127.0.0.1:{mailbox}",
}
DESTINATIONS = (
    *("bigmail.example",) * 8,
    *("webpost.example",) * 5,
    *("example.com",) * 3,
    *("example.net",) * 2,
    *("university.example",) * 2,
    *("greylist.test",) * 2,
    "nobody.test",
    "overloaded.test",
    "down.test",
)

MAIN_CF = """
compatibility_level = 3.6
config_directory = {folder}/etc
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
default_privs = nobody
myhostname = {node}
mydestination = $myhostname
inet_interfaces = 127.0.0.1
inet_protocols = all
mynetworks = 10.0.0.0/8 [2001:db8:25::]/48
relay_domains = mailboxes.example
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
alias_maps =
alias_database =
local_recipient_maps =
relay_recipient_maps =
# Nothing leaves loopback: what has no route of its own goes to the sink.
relayhost = [127.0.0.1]:{ok}
transport_maps = inline:{{ {routes} }}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtpd_peername_lookup = no
smtpd_client_port_logging = {port_logging}
smtpd_client_connection_count_limit = 6
smtpd_timeout = 300s
smtpd_recipient_restrictions = reject_non_fqdn_recipient, reject_unlisted_recipient
smtpd_helo_restrictions = reject_invalid_helo_hostname
header_checks = inline:{{ {{ lottery = REJECT not here }} }}
minimal_backoff_time = 20s
maximal_backoff_time = 40s
queue_run_delay = 20s
"""
HEADER_CHECKS = "/^Subject:.*lottery/ REJECT no lotteries\n"
SERVICES = """
127.0.0.1:{port} inet n - n - 200 smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
127.0.0.1:{submission} inet n - n - 200 smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
  -o syslog_name=postfix/submission
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
slow      unix  - - n - 4 smtp
  -o syslog_name=postfix/slow
relay     unix  - - n - - smtp
  -o syslog_name=postfix/relay
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
lmtp      unix  - - n - - lmtp
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


@dataclass
class Instance:
    """One node's Postfix."""

    node: str
    folder: Path
    port: int
    held: list[Session] = field(default_factory=list)
    accepted: Counter[str] = field(default_factory=Counter)

    @property
    def log(self) -> Path:
        return self.folder / "log" / "mail.log"

    def write_configuration(self) -> None:
        for name in ("etc", "spool", "data", "log"):
            (self.folder / name).mkdir(parents=True)
        shutil.chown(self.folder / "data", "postfix", "postfix")
        (self.folder / "data").chmod(0o700)
        routes = " ".join(
            f"{{ {domain} = {route.format(**SINK_PORTS)} }}" for domain, route in ROUTES.items()
        )
        (self.folder / "etc" / "main.cf").write_text(
            MAIN_CF.format(
                folder=self.folder,
                node=self.node,
                routes=routes,
                port_logging="yes" if self.node == NODES[0] else "no",
                **SINK_PORTS,
            ).replace("inline:{ { lottery = REJECT not here } }", f"regexp:{self.folder}/etc/header_checks")
        )
        (self.folder / "etc" / "header_checks").write_text(HEADER_CHECKS)
        (self.folder / "etc" / "master.cf").write_text(
            SERVICES.format(port=self.port, submission=self.port + 1)
        )

    def postfix(self, command: str) -> None:
        subprocess.run(["postfix", "-c", f"{self.folder}/etc", command], check=True, capture_output=True)

    def smtpd_serving(self, client: str) -> int | None:
        """Pid of the smtpd that serves a client now, by the log."""
        found = re.findall(rf"smtpd\[(\d+)\]: connect from \S*\[{re.escape(client)}\]", self.log.read_text())
        return int(found[-1]) if found else None


class Session:
    """One SMTP client."""

    def __init__(
        self, instance: Instance, client: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.instance = instance
        self.client = client
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, instance: Instance, client: str, *, submission: bool = False) -> Session:
        reader, writer = await asyncio.open_connection("127.0.0.1", instance.port + submission)
        family, server = ("TCP6", "2001:db8::25") if ":" in client else ("TCP4", "192.0.2.25")
        port = random.randrange(32_768, 60_999)  # noqa: S311 - a load generator has no secrets
        writer.write(f"PROXY {family} {client} {server} {port} 25\r\n".encode())
        session = cls(instance, client, reader, writer)
        if not (greeting := await session.reply()).startswith("220"):
            session.drop()
            raise ConnectionRefusedError(greeting)
        return session

    async def reply(self) -> str:
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 30)).decode()
            if not line or line[3:4] != "-":
                return line

    async def say(self, command: str) -> str:
        self.writer.write(command.encode() + b"\r\n")
        return await self.reply()

    async def send(self, sender: str, recipients: list[str], subject: str) -> None:
        await self.say(f"MAIL FROM:<{sender}>")
        replies = [await self.say(f"RCPT TO:<{recipient}>") for recipient in recipients]
        if not any(reply.startswith("2") for reply in replies):
            await self.say("RSET")
            return
        await self.say("DATA")
        identity = f"{random.getrandbits(48):012x}@{sender.partition('@')[2]}"
        headers = f"From: <{sender}>\r\nMessage-ID: <{identity}>\r\nSubject: {subject}\r\n"
        if (await self.say(f"{headers}\r\nHello.\r\n.")).startswith("250"):
            self.instance.accepted[self.client] += 1

    def drop(self) -> None:
        self.writer.transport.abort()

    async def quit(self) -> None:
        await self.say("QUIT")
        self.writer.close()


def client_address(rng: random.Random, index: int) -> str:
    """Busy networks that every node sees, and one that mostly this node does."""
    return rng.choice(
        (
            f"10.{20 + index}.{rng.randrange(4)}.{rng.randrange(2, 40)}",
            f"10.0.0.{rng.randrange(160, 200)}",
            f"192.0.2.{rng.randrange(1, 120)}",
            f"198.51.100.{rng.randrange(1, 250)}",
            f"203.0.113.{rng.randrange(64, 96)}",
            f"2001:db8:25:{index + 1}::{rng.randrange(1, 64):x}",
            f"2001:db8:f00d::{rng.randrange(1, 4096):x}",
        )
    )


def recipients_for(client: str, rng: random.Random) -> list[str]:
    own = client.startswith(("10.", "2001:db8:25:"))
    count = rng.choice((1, 1, 1, 1, 2, 3))
    if own:
        return [f"user{rng.randrange(500)}@{rng.choice(DESTINATIONS)}" for _ in range(count)]
    domain = rng.choice(("mailboxes.example",) * 5 + ("example.org",))  # the last: relay access denied
    return [f"user{rng.randrange(500)}@{domain}" for _ in range(count)]


async def ordinary_session(instance: Instance, index: int, rng: random.Random) -> None:
    client = client_address(rng, index)
    session = await Session.open(instance, client, submission=client.startswith(f"10.{20 + index}."))
    helo = rng.choice(("mail.example.org", "mx1.example.net", "-bad-.example", "host.bigmail.example"))
    await session.say(f"EHLO {helo}")
    fate = rng.random()
    if fate < 0.08:
        session.drop()
        return
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        subject = "You won the lottery" if rng.random() < 0.04 else "Your order"
        await session.send(
            f"news@{rng.choice(('example.org', 'shop.example'))}", recipients_for(client, rng), subject
        )
        await asyncio.sleep(rng.uniform(0, 0.3))
    if fate < 0.15:
        await session.say("MAIL FROM:<half@example.org>")
        session.drop()
    else:
        await session.quit()


async def load(instance: Instance, index: int, sessions: int, rng: random.Random) -> None:
    gate = asyncio.Semaphore(12)

    async def one() -> None:
        async with gate:
            await asyncio.sleep(rng.uniform(0, 0.8))
            with contextlib.suppress(OSError):  # a server that hangs up first
                await ordinary_session(instance, index, rng)

    await asyncio.gather(*(one() for _ in range(sessions)))


async def crowd(instance: Instance, client: str) -> None:
    """More sessions at once than one client may have."""
    opened = []
    for _ in range(9):
        with contextlib.suppress(OSError):
            opened.append(await Session.open(instance, client))
    await asyncio.sleep(0.3)
    for session in opened:
        session.drop()


async def kill_smtpd(instance: Instance, client: str) -> None:
    """A session whose smtpd is killed: the log gets no disconnect line."""
    session = await Session.open(instance, client)
    await session.say("EHLO mail.example.org")
    pid = instance.smtpd_serving(client)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    session.drop()


async def hold(instance: Instance, index: int, sessions: int, rng: random.Random) -> None:
    """Sessions that are open when the log is cut; some clients have several."""
    clients = [client_address(rng, index) for _ in range(sessions * 2 // 3)]
    clients += rng.choices(clients[: sessions // 4], k=sessions - len(clients))
    for client in clients:
        with contextlib.suppress(OSError):  # a client over its limit
            session = await Session.open(instance, client)
            await session.say("EHLO mail.example.org")
            instance.held.append(session)
            if rng.random() < 0.5:
                await session.send("news@shop.example", recipients_for(client, rng), "Your order")


async def node_life(instance: Instance, index: int) -> None:
    rng = random.Random(instance.node)  # noqa: S311 - a load generator has no secrets
    await load(instance, index, 110, rng)
    await crowd(instance, f"203.0.113.{200 + index}")
    await kill_smtpd(instance, f"198.51.100.{251 + index}")
    instance.postfix("reload")
    await load(instance, index, 130, rng)
    await hold(instance, index, 36 + 9 * index, rng)
    await asyncio.sleep(2)


def start_sinks() -> list[subprocess.Popen[bytes]]:
    behaviour = {
        "ok": (),
        "slow": ("-w", "1"),
        "soft": ("-r", "RCPT"),
        "hard": ("-f", "RCPT"),
        "busy": ("-Q", "EHLO,HELO"),
        "mailbox": ("-L",),
    }
    return [
        subprocess.Popen(["smtp-sink", "-u", "nobody", *behaviour[name], f"127.0.0.1:{port}", "200"])
        for name, port in SINK_PORTS.items()
    ]


async def wait_for_greeting(instance: Instance) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            session = await Session.open(instance, "10.255.255.254")
            await session.quit()
            return
        await asyncio.sleep(0.1)
    raise SystemExit(f"{instance.node} does not answer; see {instance.log}")


async def run(instances: list[Instance], output: Path) -> None:
    for instance in instances:
        await wait_for_greeting(instance)
    await asyncio.gather(*(node_life(instance, index) for index, instance in enumerate(instances)))
    expected = {}
    for instance in instances:
        shutil.copyfile(instance.log, output / f"{instance.node}.log")
        open_sessions = Counter(session.client for session in instance.held)
        expected[instance.node] = {"open": dict(open_sessions), "accepted": dict(instance.accepted)}
    (output / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    for instance in instances:
        for session in instance.held:
            session.drop()


def main() -> None:
    output = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="postfix-") as scratch:
        Path(scratch).chmod(0o755)
        instances = [
            Instance(node, Path(scratch) / node, FIRST_PORT + 10 * index) for index, node in enumerate(NODES)
        ]
        sinks = start_sinks()
        try:
            for instance in instances:
                instance.write_configuration()
                instance.postfix("start")
            asyncio.run(run(instances, output))
        finally:
            for instance in instances:
                with contextlib.suppress(subprocess.CalledProcessError):
                    instance.postfix("stop")
            for sink in sinks:
                sink.terminate()
                sink.wait()


if __name__ == "__main__":
    main()
