"""KEDA's port: TLS, who gets through, what a renewed Secret does, and how it ends."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from stoker.clock import SystemClock
from stoker.errors import StokerError
from stoker.external import wire
from stoker.external.certificates import KeyPair
from stoker.external.keda import KedaServer
from stoker.external.source import Interest, Source, Views
from stoker.model.load import FrontendSample, Load
from tests.support.authority import Authority
from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from stoker.model.observed import Key

METADATA = {"service": "chat", "target": "1"}


def source() -> Source:
    """Of a leader whose every service has one request."""
    clock = SystemClock()

    def latest(_key: Key) -> Load:
        return Load(clock.monotonic(), (FrontendSample("front", 1, 1, 1.0),), ())

    views = Views(
        synced=lambda: True,
        exists=lambda _: True,
        leads=lambda: True,
        leader=lambda: "",
        latest=latest,
        wake=lambda _: None,
    )
    return Source(clock, Interest(clock), views)


async def is_active(port: int, credentials: grpc.ChannelCredentials | None) -> Any:
    """What IsActive answers over a connection of its own."""
    address = f"{LOOPBACK}:{port}"
    # Connections are shared by address unless they are told not to be.
    own = (("grpc.use_local_subchannel_pool", 1),)
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, own)
    else:
        channel = grpc.aio.secure_channel(address, credentials, own)
    async with channel:
        call = channel.unary_unary(
            f"/{wire.SERVICE}/IsActive",
            request_serializer=wire.message("ScaledObjectRef").SerializeToString,
            response_deserializer=wire.message("IsActiveResponse").FromString,
        )
        entries = [{"key": key, "value": value} for key, value in METADATA.items()]
        reference = wire.message("ScaledObjectRef")(namespace="demo", scalerMetadata=entries)
        return (await call(reference, timeout=20)).result


async def refused(port: int, credentials: grpc.ChannelCredentials | None) -> bool:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await is_active(port, credentials)
    return error.value.code() is grpc.StatusCode.UNAVAILABLE


def authority(folder: Path) -> Authority:
    """An authority that has signed a pair, laid out as a Secret of cert-manager's is."""
    made = Authority(folder)
    made.make()
    made.sign("tls", "/CN=stoker-keda")
    return made


def trusting(authority: Authority, pair: str | None = None) -> grpc.ChannelCredentials:
    def read(name: str) -> bytes:
        return (authority.folder / name).read_bytes()

    if pair is None:
        return grpc.ssl_channel_credentials(read("ca.crt"))
    return grpc.ssl_channel_credentials(read("ca.crt"), read(f"{pair}.key"), read(f"{pair}.crt"))


async def test_a_renewed_secret_is_used_without_a_restart(tmp_path: Path) -> None:
    first, second = authority(tmp_path / "first"), authority(tmp_path / "second")
    port = free_port()
    server = KedaServer(source(), KeyPair(first.folder), verify_clients=False)
    await server.start(LOOPBACK, port)
    try:
        assert await is_active(port, trusting(first))
        assert await refused(port, trusting(second))
        assert await refused(port, None)
        # The kubelet changes both files; in between they do not fit together.
        shutil.copy(second.folder / "tls.key", first.folder / "tls.key")
        shutil.copy(second.folder / "tls.crt", first.folder / "tls.crt")
        assert await is_active(port, trusting(second))
    finally:
        await server.close()


async def test_clients_are_verified_where_that_is_asked_for(tmp_path: Path) -> None:
    ours, other = authority(tmp_path / "ours"), authority(tmp_path / "other")
    port = free_port()
    server = KedaServer(source(), KeyPair(ours.folder), verify_clients=True)
    await server.start(LOOPBACK, port)
    try:
        assert await is_active(port, trusting(ours, "admin"))
        assert await refused(port, trusting(ours))
        shutil.copy(other.folder / "admin.key", ours.folder / "stranger.key")
        shutil.copy(other.folder / "admin.crt", ours.folder / "stranger.crt")
        assert await refused(port, trusting(ours, "stranger"))
    finally:
        await server.close()


async def test_a_port_or_a_secret_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    port = free_port()
    server = KedaServer(source(), None, verify_clients=False)
    await server.start(LOOPBACK, port)
    try:
        assert await is_active(port, None)
        second = KedaServer(source(), None, verify_clients=False)
        with pytest.raises(StokerError, match=f"port {LOOPBACK}:{port} for KEDA cannot be used"):
            await second.start(LOOPBACK, port)
        await second.close()
    finally:
        await server.close()
    lacking = KedaServer(source(), KeyPair(tmp_path), verify_clients=False)
    with pytest.raises(StokerError, match="holds no usable key pair"):
        await lacking.start(LOOPBACK, free_port())
    await lacking.close()


async def test_nobody_ends_its_tasks_from_outside() -> None:
    """Kopf, when it ends, cancels every task of the process's loop, in an order of its own."""
    port = free_port()
    server = KedaServer(source(), None, verify_clients=False)
    await server.start(LOOPBACK, port)
    assert await is_active(port, None)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)
    assert await is_active(port, None)
    await asyncio.wait_for(server.close(), 20)
