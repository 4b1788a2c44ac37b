"""How blocks are found and marked."""

from __future__ import annotations

import pytest

from docs.tools.blocks import BlockError, blocks_of

PAGE = """\
# A page

```sh
one
```

<!-- not run: it takes a GPU and an hour -->
```sh
two
```

<!-- exit status: 9 -->
<!-- run without a release -->
```console
$ three \\
    --more
what it prints
$ four
```

- in a list

  ```yaml
  a: 1
  ```
"""


def test_blocks_and_their_marks() -> None:
    first, second, third, fourth = blocks_of("p.md", PAGE)
    assert (first.where, first.text, first.reason, first.status) == ("p.md:3", "one\n", None, 0)
    assert second.reason == "it takes a GPU and an hour"
    assert (third.status, third.fresh, third.reason) == (9, True, None)
    assert third.script == "three \\\n    --more\nfour\n"
    assert (fourth.language, fourth.text) == ("yaml", "a: 1\n")


def test_a_mark_for_the_whole_page() -> None:
    page = "<!-- not run on this page: all of it asks a Prometheus -->\n" + PAGE
    reasons = [each.reason for each in blocks_of("p.md", page)]
    assert reasons[:2] == ["all of it asks a Prometheus", "it takes a GPU and an hour"]
    assert reasons[2] == "all of it asks a Prometheus"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```\nkubectl get pods\n```\n", "p.md:1: a block says what it is after its fence"),
        ("a\n\n```shell\nls\n```\n", "p.md:3: a block says what it is after its fence (shell"),
        ("<!-- not run: no -->\n```sh\nls\n```\n", "p.md:2: say in a few words why"),
        ("<!-- not run on this page: -->\n```sh\nls\n```\n", "say in a few words why"),
    ],
)
def test_what_is_not_marked_is_refused(page: str, said: str) -> None:
    with pytest.raises(BlockError) as refused:
        blocks_of("p.md", page)
    assert said in str(refused.value)
