"""What a killed job left is believed exactly as far as it can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.fetch.folder import Folder
from stoker_worker.fetch.journal import Journal, Recorded, read_journal

DIGEST = "ab" * 32
TEXT = f"""v 1 rev boot-1
f 0 100 10 a.safetensors
f 1 7 10 folder/name with spaces.json
c 0 0
c 0 3
d 0 0 {DIGEST}
s 6
c 1 0
c 0 1
x 0
c 0 2
"""


def test_the_same_kernel_believes_every_line() -> None:
    assert read_journal(TEXT, "rev", "boot-1") == {
        "a.safetensors": Recorded(100, 10, {2}),
        "folder/name with spaces.json": Recorded(7, 10, {0}),
    }


def test_another_kernel_believes_what_was_synced() -> None:
    assert read_journal(TEXT, "rev", "boot-2") == {
        "a.safetensors": Recorded(100, 10, {0, 3}, {0: DIGEST}),
        "folder/name with spaces.json": Recorded(7, 10),
    }
    assert read_journal(TEXT.replace("s 6\n", ""), "rev", "boot-2") == {}


@pytest.mark.parametrize("boot", ["boot-1", ""])
def test_of_another_revision_nothing_is_believed(boot: str) -> None:
    assert read_journal(TEXT, "other", boot) == {}
    assert read_journal("", "rev", boot) == {}
    assert read_journal(TEXT.replace("v 1", "v 2"), "rev", boot) == {}


def test_a_kernel_that_has_no_name_is_another_one() -> None:
    assert read_journal(TEXT.replace("boot-1", "-"), "rev", "")["a.safetensors"].done == {0, 3}


@given(st.integers(0, len(TEXT)))
def test_a_cut_line_tells_nothing(length: int) -> None:
    found = read_journal(TEXT[:length], "rev", "boot-1")
    whole = TEXT[:length].rpartition("\n")[0]
    assert found == read_journal(whole + "\n", "rev", "boot-1")


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    read_journal(f"v 1 rev boot\n{text}\n", "rev", "boot")
    read_journal(text, "rev", "boot")


def test_a_journal_that_is_written_is_read(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path)
    journal = Journal(folder, "m.journal")
    assert journal.read("rev 1") == {}
    begun = [("a b.json", Recorded(30, 10, {1}, {1: DIGEST})), ("c", Recorded(5, 10))]
    journal.begin("rev 1", begun)
    journal.chunk(0, 2)
    lines = journal.lines
    journal.chunk(1, 0)
    journal.digest(1, 0, DIGEST)
    journal.synced(lines)
    journal.close()
    again = Journal(folder, "m.journal")
    assert again.read("rev 1") == {
        "a b.json": Recorded(30, 10, {1, 2}, {1: DIGEST}),
        "c": Recorded(5, 10, {0}, {0: DIGEST}),
    }
    text = (tmp_path / "m.journal").read_text()
    assert read_journal(text, "rev 1", "another")["c"] == Recorded(5, 10)
