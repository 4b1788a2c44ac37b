"""Who belongs to a group, what its pods tell each other, and the launch that follows from it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker import contract
from stoker_worker.contract import ContractError, WorkerConfig
from stoker_worker.engines import Place
from stoker_worker.engines.vllm import Vllm
from stoker_worker.group import Membership, Reply, Roll, membership_of, read_report, report_path

ENV = {
    contract.ENV_GROUP_LEADER: "llama-0.llama.chat",
    contract.ENV_GROUP_SIZE: "3",
    contract.ENV_GROUP_RANK: "1",
    contract.ENV_POD_IP: "10.0.0.7",
}


def config(**changes: Any) -> WorkerConfig:
    return WorkerConfig("vllm", "/models/m", ["main"], **changes)


def test_one_pod_is_no_group_whatever_its_environment_says() -> None:
    assert membership_of(config(), ENV) is None


def test_membership_is_read_from_what_the_controller_sets() -> None:
    member = membership_of(config(nodes=3), ENV)
    assert member == Membership(3, 1, "llama-0.llama.chat", "10.0.0.7")
    assert not member.leads
    leader = membership_of(config(nodes=3), {**ENV, contract.ENV_GROUP_RANK: "0"})
    assert leader is not None
    assert leader.leads


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({contract.ENV_GROUP_SIZE: "2"}, "plans 3 pods"),
        ({contract.ENV_GROUP_RANK: "3"}, "has 3 pods"),
        ({contract.ENV_GROUP_RANK: "-1"}, contract.ENV_GROUP_RANK),
        ({contract.ENV_GROUP_SIZE: "x"}, contract.ENV_GROUP_SIZE),
        ({contract.ENV_GROUP_LEADER: ""}, "LeaderWorkerSet"),
        ({contract.ENV_POD_IP: ""}, contract.ENV_POD_IP),
    ],
)
def test_a_group_that_does_not_fit_is_refused_before_the_engine(
    change: dict[str, str], word: str
) -> None:
    with pytest.raises(ContractError, match=word):
        membership_of(config(nodes=3), {**ENV, **change})


def test_a_report_survives_the_way() -> None:
    assert read_report(report_path(12, "0af3")) == (12, "0af3")


@pytest.mark.parametrize(
    "path", ["", "/", "/group", "/group/1", "/group//a", "/group/x/a", "/group/1/a/b", "/state"]
)
def test_what_is_no_report_is_none(path: str) -> None:
    assert read_report(path) is None


@given(
    st.text("/0123456789", max_size=4) | st.text(max_size=6),
    st.text("/abc123", max_size=40) | st.text(max_size=6),
)
def test_any_path_is_read_without_a_crash(rank: str, token: str) -> None:
    report = read_report(f"/group/{rank}/{token}")
    if report is not None:
        assert report == (int(rank), token)


@pytest.mark.parametrize("rank", ["\u00b2", "\u0663", "-1", "1.0", ""])
def test_only_plain_digits_are_a_rank(rank: str) -> None:
    assert read_report(f"/group/{rank}/abc") is None
    with pytest.raises(ContractError, match=contract.ENV_GROUP_RANK):
        membership_of(config(nodes=3), {**ENV, contract.ENV_GROUP_RANK: rank})


def test_replies_survive_and_strangers_are_not_replies() -> None:
    reply = Reply("ab", complete=True)
    assert Reply.parse(reply.to_json().encode()) == reply
    for body in (b"", b"[]", b"null", b"{}", b"\xff", b'{"leader": "a"}'):
        assert Reply.parse(body) is None


def test_the_engines_start_when_every_pod_has_reported() -> None:
    roll = Roll(3)
    assert roll.missing == (1, 2)
    roll, restarted = roll.take(2, "b", 1.0)
    assert (roll.started, restarted, roll.missing) == (False, False, (1,))
    roll, _ = roll.take(1, "a", 2.0)
    assert roll.started


def test_ranks_that_the_group_does_not_have_do_not_count() -> None:
    roll = Roll(2)
    for rank in (0, 2, 7):
        roll, restarted = roll.take(rank, "x", 0.0)
        assert not restarted
    assert not roll.started


def test_before_the_start_a_pod_may_begin_anew_and_after_it_may_not() -> None:
    roll, _ = Roll(3).take(1, "a", 0.0)
    roll, restarted = roll.take(1, "b", 1.0)
    assert not restarted
    roll, _ = roll.take(2, "c", 1.0)
    roll, restarted = roll.take(1, "b", 2.0)
    assert not restarted
    roll, restarted = roll.take(1, "d", 3.0)
    assert restarted
    assert roll.take(1, "d", 4.0)[1], "and it stays so, however often it reports"


def test_the_longest_silence_is_found() -> None:
    assert Roll(3).silent(100.0, 30.0) is None
    roll, _ = Roll(3).take(1, "a", 10.0)
    roll, _ = roll.take(2, "b", 20.0)
    assert roll.silent(39.0, 30.0) is None
    assert roll.silent(45.0, 30.0) == (1, 35.0)


def test_a_group_is_launched_as_nodes_of_one_engine() -> None:
    given = {"tensor-parallel-size": "2", "distributed-executor-backend": "uni"}
    leader = Place(2, 0, "10.0.0.6", 29500, "10.0.0.6", "eth0")
    follower = Place(2, 1, "10.0.0.6", 29500, "10.0.0.7", "eth0")
    first = Vllm().arguments(config(args=given, nodes=2), leader)
    second = Vllm().arguments(config(args=given, nodes=2), follower)
    launch = [
        "--distributed-executor-backend=mp",
        "--nnodes=2",
        "--node-rank=0",
        "--master-addr=10.0.0.6",
        "--master-port=29500",
    ]
    assert [word for word in first if word in launch] == launch
    assert "--distributed-executor-backend=uni" not in first
    assert "--headless" not in first
    # A follower gets the leader's flags, its own rank, and no API server.
    other = [word.replace("--node-rank=0", "--node-rank=1") for word in first]
    assert sorted(second) == sorted([*other, "--headless"])


def test_a_rank_offers_its_pods_address_unless_the_pod_says_otherwise() -> None:
    place = Place(2, 1, "10.0.0.6", 29500, "10.0.0.7", "eth0")
    env = Vllm().environment({"GLOO_SOCKET_IFNAME": "net1"}, place)
    assert env["VLLM_HOST_IP"] == "10.0.0.7"
    assert env["GLOO_SOCKET_IFNAME"] == "net1"
    assert "VLLM_HOST_IP" not in Vllm().environment({})


@pytest.mark.parametrize("flag", ["nnodes", "node-rank", "master-addr", "master-port", "headless"])
def test_nobody_else_launches_a_group(flag: str) -> None:
    with pytest.raises(ContractError, match=flag):
        Vllm().arguments(config(args={flag: "1"}))


def test_a_follower_has_more_time_than_its_leader() -> None:
    assert config().follower_grace_period_s() > config().grace_period_s()
