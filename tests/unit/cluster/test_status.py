"""What a status looks like when it is written."""

from stoker.cluster.status import with_times
from stoker.model.moment import Moment

NOW = Moment(5.0, 1_700_000_000.0)


def test_nothing_empty_is_written_at_any_depth() -> None:
    wanted = {
        "desiredReplicas": 0,
        "selector": "",
        "lastScale": None,
        "scaling": {"need": 0, "terms": {}, "limit": None},
        "plan": {"techniques": [], "expected": {"ttft": {}}},
        "revisions": [],
        "conditions": [],
    }
    assert with_times(wanted, {}, 1, NOW) == {
        "desiredReplicas": 0,
        "selector": "",
        "scaling": {"need": 0},
    }
