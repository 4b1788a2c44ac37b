"""The shell around `group.py`: the pods of a group find each other before any engine starts.

A pod whose model has to be read again does that first: once the leader serves, it would be too late
for a follower to find a bad file.

The worker's server runs from here on, because the kubelet probes a pod that waits for others too.
Later the supervisor takes the server's answers over, except for the reports of the followers.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import os
import socket
import struct
import time
from contextlib import closing, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Optional, Tuple, Union

from stoker_worker import contract
from stoker_worker.contract import WorkerConfig
from stoker_worker.engines import Place
from stoker_worker.events import (
    Event,
    LeaderAnswered,
    LeaderSilent,
    MemberRestarted,
    MemberSilent,
    TerminateRequested,
)
from stoker_worker.group import Membership, Reply, Roll, read_report, report_path
from stoker_worker.lastwords import say
from stoker_worker.server import Answer, Pending, Response, Server

if TYPE_CHECKING:
    from stoker_worker.reading import Reading

EVERY_S = 0.5
TIMEOUT_S = 5.0  # the kernel takes three seconds to say that an address is gone
SILENT_S = 30.0
# A node that is down, a pod that is gone: nobody will answer there.
_NOBODY = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})
_SIOCGIFADDR = 0x8915


class Group:
    """One pod's view of its group."""

    def __init__(
        self,
        config: WorkerConfig,
        member: Membership,
        queue: SimpleQueue[Event],
        reading: Reading,
    ) -> None:
        self.member = member
        self._reading = reading
        self._config = config
        self._queue = queue
        self._token = os.urandom(8).hex()
        self._roll = Roll(member.size)
        self._leader = member.leader  # an address once it was reached
        self._leader_token = ""
        self._answer: Answer = self._answer_while_assembling
        self._server = Server(config.host, config.worker_port, self._route)

    @property
    def port(self) -> int:
        """The worker's port, also when the system chose it."""
        return self._server.port

    def assemble(self) -> Optional[Place]:
        """Wait until every pod is there, its model proven.

        None when this pod was asked to end meanwhile, or when its model is bad.
        """
        self._server.start()
        self._reading.start()
        began = time.monotonic()
        told: Tuple[int, ...] = ()
        while True:
            if self.member.leads:
                complete, missing = self._roll.started, self._roll.missing
            else:
                complete, missing = not self._reading.unproven and self._report_in(), (0,)
            if complete:
                say(f"all {self.member.size} pods of the group are there")
                return self._place()
            if missing != told and missing:
                ranks = ", ".join(str(rank) for rank in missing)
                say(
                    f"waiting for pod {ranks} of the group, {time.monotonic() - began:.0f} s so far"
                )
                told = missing
            if self._reading.fault is not None or self._asked_to_end():
                return None

    def hand_over(self, answer: Answer) -> None:
        """Have the supervisor answer what is not the group's."""
        self._answer = answer

    def look_for_silence(self) -> Optional[Event]:
        """Return what a leader should know of followers that do not report."""
        silent = self._roll.silent(time.monotonic(), SILENT_S) if self.member.leads else None
        return MemberSilent(*silent) if silent else None

    def ask_leader(self) -> Event:
        """Report to the leader once."""
        try:
            reply = self._report(self._leader)
        except OSError as error:
            return LeaderSilent(gone=error.errno in _NOBODY)
        if reply is None:
            return LeaderSilent(gone=False)
        return LeaderAnswered(same=reply.leader == self._leader_token)

    # Both sides of a report

    def _route(self, path: str) -> Union[Response, Pending, None]:
        report = read_report(path) if self.member.leads else None
        if report is None:
            return self._answer(path)
        rank, token = report
        self._roll, restarted = self._roll.take(rank, token, time.monotonic())
        if restarted:
            self._queue.put(MemberRestarted(rank))
        if self._reading.unproven:  # complete only once this pod is, too
            self._roll = replace(self._roll, started=False)
        complete = self._roll.started and not restarted
        body = Reply(self._token, complete).to_json()
        return Response(200, body, "application/json")

    def _report_in(self) -> bool:
        """Report once; whether the group is complete."""
        try:
            # The name is in the cluster's DNS some time after the pod is; then the address serves
            # for good, since a leader that gets another one is another leader.
            address = _resolve(self.member.leader)
            reply = self._report(address)
        except OSError:
            return False
        if reply is None or not reply.complete:
            return False
        self._leader, self._leader_token = address, reply.leader
        return True

    def _report(self, address: str) -> Optional[Reply]:
        port = self._config.worker_port
        connection = http.client.HTTPConnection(address, port, timeout=TIMEOUT_S)
        with closing(connection):
            try:
                connection.request("GET", report_path(self.member.rank, self._token))
                response = connection.getresponse()
                body = response.read(contract.TERMINATION_BYTES)
            except http.client.HTTPException:
                return None
        return Reply.parse(body) if response.status == 200 else None

    # While waiting

    def _asked_to_end(self) -> bool:
        with suppress(Empty):
            return isinstance(self._queue.get(timeout=EVERY_S), TerminateRequested)
        return False

    def _answer_while_assembling(self, path: str) -> Optional[Response]:
        if path == contract.PATH_LIVE:
            return Response(200, "ok\n")
        if path == contract.PATH_READY:
            return Response(503, "Assembling\n")
        if path == contract.PATH_STATE:
            state = {
                "contract": contract.CONTRACT_VERSION,
                "engine": self._config.engine,
                "phase": "Assembling",
                "ready": False,
                "unproven": self._reading.unproven,
                "missing": list(self._roll.missing) if self.member.leads else [0],
            }
            return Response(200, json.dumps(state) + "\n", "application/json")
        return None

    def _place(self) -> Place:
        member = self.member
        return Place(
            nodes=member.size,
            rank=member.rank,
            leader=member.address if member.leads else self._leader,
            port=self._config.group_port,
            address=member.address,
            interface=interface_of(member.address),
        )


def _resolve(name: str) -> str:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def interface_of(address: str) -> str:
    """Return the network interface that has an IPv4 address; empty when it is not found."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                answer = fcntl.ioctl(
                    probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15])
                )
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return ""
