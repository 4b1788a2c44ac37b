"""The page of model caches, which answers: whether models are there, whole, and proven."""

from typing import Final

from charts.observability.dashboards import kit
from charts.observability.dashboards.values import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    GREY,
    WARN,
    Annotation,
    Board,
    Kind,
    Panel,
    Row,
    Scenario,
    Target,
    Variable,
    falling,
    rising,
)

_EACH: Final = "cluster, namespace, cache"
_LINE: Final = "{{namespace}}/{{cache}}"
_WEEK: Final = 7 * 24 * 3600.0


def _verified(result: str, window: str = "$__interval") -> str:
    where = f'@cache, result="{result}"'
    return kit.counted("stoker_cache_verifications_total", where, "result", window)


_NAMESPACE: Final = Variable(
    "namespace",
    "Namespace",
    'stoker_cache_phase{cluster=~"$cluster"}',
    "Where the caches are.",
    Scenario.CACHE,
)
_CACHE: Final = Variable(
    "cache",
    "Cache",
    'stoker_cache_phase{cluster=~"$cluster", namespace=~"$namespace"}',
    "ModelCaches, by name.",
    Scenario.CACHE,
)

_NOW: Final = Row(
    "Now",
    (
        kit.figure(
            "Caches that are not ready",
            "Caches in any other phase than Ready. One that is being filled is among them. "
            "Bad: Failed or Degraded in the table below; services of such a cache do not start.",
            "short",
            Scenario.CACHE,
            (
                Target(
                    'count(stoker_cache_phase{@cache, phase!="Ready"} == 1) or vector(0)', "caches"
                ),
            ),
            steps=rising(1, 3),
            decimals=0,
            runbooks=("StokerCacheFailed",),
        ),
        kit.figure(
            "Bad verifications in this time",
            "Verifications that found a byte that is not as it was fetched. "
            "Bad: any. The file is fetched again by itself; a volume that does it twice is faulty.",
            "short",
            Scenario.CACHE,
            (
                Target(
                    f"sum({_verified('bad', '$__range')}) or vector(0)",
                    "bad",
                ),
            ),
            steps=rising(1, 2),
            decimals=0,
            runbooks=("StokerCacheCorrupt",),
        ),
        kit.figure(
            "Longest time without a verification",
            "Since every byte of a cache was last compared with its digest, of the cache that "
            "waits longest. Bad: far above caches.verifyEvery: verifications do not run.",
            "s",
            Scenario.CACHE,
            (
                Target(
                    "time() - min(stoker_cache_last_verified_timestamp_seconds{@cache})",
                    "since",
                ),
            ),
            steps=rising(_WEEK, 4 * _WEEK),
        ),
        kit.figure(
            "Cached models together",
            "Size of all chosen models, once for each cache, however many nodes hold it. "
            "Bad: it grows and nobody knows why: caches outlive the services that made them.",
            "bytes",
            Scenario.CACHE,
            (Target("sum(stoker_cache_bytes{@cache})", "size"),),
        ),
    ),
)

_EVERY: Final = Row(
    "Caches",
    (
        Panel(
            "What speaks against caches",
            "Conditions of ModelCaches that are not as they should be, with their reason. "
            "Bad: any row that stays. A cache that is being filled is here for its time.",
            "short",
            Scenario.DOWNLOAD,
            (
                Target(
                    f"max by ({_EACH}, condition, reason) (stoker_cache_condition{{@cache}})",
                    "Now",
                ),
            ),
            Kind.TABLE,
            width=24,
            height=6,
            columns=(
                ("cluster", "Cluster"),
                ("namespace", "Namespace"),
                ("cache", "Cache"),
                ("condition", "Condition"),
                ("reason", "Reason"),
            ),
            labels_only=True,
            runbooks=("StokerCacheFailed", "StokerCacheFull"),
            nothing="nothing speaks against any cache",
        ),
        Panel(
            "Caches by phase",
            "What each cache is doing. Ready: services can use it. Resolving, Pending, Fetching, "
            "Verifying: on its way. "
            "Bad: Degraded (a node or a verification is bad) and Failed (it needs somebody): "
            "`kubectl describe modelcache` has the reason and what to do.",
            "short",
            Scenario.CACHE,
            (
                Target(
                    f"max by ({_EACH}, phase) (stoker_cache_phase{{@cache}} == 1)", "In this phase"
                ),
            ),
            Kind.TABLE,
            columns=(
                ("cluster", "Cluster"),
                ("namespace", "Namespace"),
                ("cache", "Cache"),
                ("phase", "Phase"),
            ),
            labels_only=True,
            runbooks=("StokerCacheFailed", "StokerCacheCorrupt"),
        ),
        Panel(
            "Size and proof",
            "How large each model is, and how long ago every byte was compared with its digest. "
            "Bad: no proof for weeks, or a size that is not the model's.",
            "bytes",
            Scenario.CACHE,
            (
                Target(f"max by ({_EACH}) (stoker_cache_bytes{{@cache}})", "Size"),
                Target(
                    f"time() - max by ({_EACH}) "
                    "(stoker_cache_last_verified_timestamp_seconds{@cache})",
                    "Verified before",
                    unit="s",
                    steps=rising(_WEEK, 4 * _WEEK),
                ),
            ),
            Kind.TABLE,
            columns=(("cluster", "Cluster"), ("namespace", "Namespace"), ("cache", "Cache")),
            sort="Size",
        ),
    ),
)

_FILLING: Final = Row(
    "Filling and keeping",
    (
        Panel(
            "Downloads: how far",
            "Share of each model that is on the volume and good, while it is fetched. "
            "Bad: a line that does not rise: the source limits, does not answer, or the disk is "
            "full.",
            "percentunit",
            Scenario.DOWNLOAD,
            (
                Target(
                    f"max by ({_EACH}) (stoker_cache_download_ratio{{@cache}})",
                    _LINE,
                ),
            ),
            maximum=1,
            nothing="nothing is fetched",
            runbooks=("StokerCacheFull",),
        ),
        Panel(
            "Downloads: how fast",
            "Bytes that became good each second. "
            "Bad: a few MB/s where the network can do more: too few connections "
            "(caches.parallel), a proxy, or a slow volume.",
            "Bps",
            Scenario.DOWNLOAD,
            (
                Target(
                    f"clamp_min(max by ({_EACH}) "
                    "(deriv(stoker_cache_downloaded_bytes{@cache}[$__rate_interval])), 0)",
                    _LINE,
                ),
            ),
            nothing="nothing is fetched",
        ),
        Panel(
            "Nodes that hold the model, of those that should",
            "Of caches that are kept per node. "
            "Bad: below 100 % for longer than a download: pods on the other nodes wait or load "
            "over the network.",
            "percentunit",
            Scenario.NODE_CACHE,
            (
                Target(
                    f"max by ({_EACH}) (stoker_cache_nodes_ready{{@cache}}) "
                    f"/ (max by ({_EACH}) (stoker_cache_nodes_wanted{{@cache}}) > 0)",
                    _LINE,
                ),
            ),
            steps=falling(0.5, 1),
            maximum=1,
        ),
        Panel(
            "Verifications",
            "Comparisons of every byte that ended, by result. "
            "Bad: any `bad`; or none at all where caches.verifyEvery is set.",
            "short",
            Scenario.CACHE,
            (
                Target(_verified("good"), "good", GREEN),
                Target(_verified("bad"), "bad", BAD, scenario=Scenario.CORRUPT),
            ),
            Kind.BARS,
            runbooks=("StokerCacheCorrupt",),
        ),
        Panel(
            "Phases over time",
            "How many caches are in each phase. "
            "Bad: a phase that goes on for hours: Pending (no volume), Fetching (a slow source), "
            "Failed (somebody has to act).",
            "short",
            Scenario.CACHE,
            (Target("count by (phase) (stoker_cache_phase{@cache} == 1)", "{{phase}}"),),
            Kind.STACK,
            decimals=0,
            colours=(("Ready", GOOD), ("Degraded", WARN), ("Failed", BAD), (".+", GREY)),
        ),
        Panel(
            "Passes over caches, P95",
            "How long the operator takes for one look at a cache. "
            "Bad: seconds: the API server or the volumes' driver is slow.",
            "s",
            Scenario.CACHE,
            (
                Target(
                    "histogram_quantile(0.95, sum by (le) (rate("
                    'stoker_reconcile_duration_seconds_bucket{cluster=~"$cluster", '
                    'kind="ModelCache"}[$__rate_interval])))',
                    "P95",
                    BLUE,
                ),
            ),
        ),
    ),
)

BOARD: Final = Board(
    kit.CACHES,
    "Stoker / Caches",
    "Are the models there, whole, and proven?",
    (_NOW, _EVERY, _FILLING),
    (kit.CLUSTER, _NAMESPACE, _CACHE),
    (
        Annotation(
            "Bad files",
            kit.grew(
                "stoker_cache_verifications_total", '@cache, result="bad"', "namespace, cache"
            ),
            "{{namespace}}/{{cache}}: a bad file",
            "A verification found a file that is not as it was fetched.",
            BAD,
            Scenario.CORRUPT,
        ),
    ),
)
