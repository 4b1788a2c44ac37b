"""From which nodes a volume can be reached, as the scheduler will ask of every pod that mounts it.

A volume says so in its `nodeAffinity`, a storage class that has not made the volume yet in its
`allowedTopologies`, and a volume for one node at a time by the node that has it. All three are the
same value: a pod may run on a node that meets every requirement of at least one term. It is an
input of the plan, and like the nodes it only orders choices.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

# Where a requirement means the node itself and not one of its labels.
NODE_NAME: Final = "metadata.name"
_ONE_NODE: Final = frozenset({NODE_NAME, "kubernetes.io/hostname"})
# What people call the labels that topologies are usually made of, by the end of their keys.
_WORDS: Final = {"zone": "zone", "region": "region", "hostname": "node", "name": "node"}
_TOLD: Final = 4


@dataclass(frozen=True, slots=True)
class Requirement:
    """One expression of a node selector term."""

    key: str  # of a label, or NODE_NAME
    operator: str  # In, NotIn, Exists, DoesNotExist, Gt, Lt
    values: tuple[str, ...] = ()

    def met_by(self, value: str | None) -> bool:
        """Whether a node with this value of the label (None: without it) is admitted."""
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._compares(value)
            case _:  # a word of a later Kubernetes forbids nothing here
                return True

    def _compares(self, value: str | None) -> bool:
        try:
            has, bound = int(value or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return has > bound if self.operator == "Gt" else has < bound


Term = tuple[Requirement, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """Nodes that reach a volume: those that meet all of any term. No term at all: none."""

    terms: tuple[Term, ...]
    claim: str  # whose volume it is
    held: bool = False  # by pods, for as long as they run: it goes to one node at a time

    @property
    def keys(self) -> frozenset[str]:
        """Labels that decide."""
        return frozenset(each.key for term in self.terms for each in term) - {NODE_NAME}

    @property
    def pinned(self) -> bool:
        """Whether only nodes that are known by name reach it, so that no new one ever will."""
        return all(
            any(each.key in _ONE_NODE and each.operator == "In" for each in term)
            for term in self.terms
        )

    def admits(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a pod on this node can mount the volume."""
        return any(
            all(
                each.met_by(name if each.key == NODE_NAME else labels.get(each.key))
                for each in term
            )
            for term in self.terms
        )

    def held_on(self, nodes: Iterable[str]) -> "Topology":
        """The same volume while pods on these nodes have it, and it goes to one node at a time."""
        held = Requirement(NODE_NAME, "In", tuple(sorted(set(nodes))))
        return Topology(tuple((*term, held) for term in self.terms), self.claim, held=True)

    @property
    def words(self) -> str:
        """Where it is, for people: "zone eu-1a", "node n1 or node n2"."""
        told = dict.fromkeys(" and ".join(_said(term)) for term in self.terms)
        places = [each for each in told if each]
        if not places:
            return "no node"
        more = f" or {len(places) - _TOLD} other places" if len(places) > _TOLD else ""
        return " or ".join(places[:_TOLD]) + more


def of_volume(body: Mapping[str, Any], claim: str) -> Topology | None:
    """What a PersistentVolume demands; None where every node reaches it."""
    affinity = (body.get("spec") or {}).get("nodeAffinity") or {}
    required = affinity.get("required")
    if not required:
        return None
    terms = []
    for term in required.get("nodeSelectorTerms") or ():
        found = _requirements(term.get("matchExpressions")) + _requirements(term.get("matchFields"))
        if found:  # an empty term admits no node
            terms.append(found)
    return Topology(tuple(terms), claim)


def of_class(body: Mapping[str, Any], claim: str) -> Topology | None:
    """Where a StorageClass will make a volume; None where it may be anywhere."""
    terms = tuple(
        tuple(
            Requirement(str(each.get("key")), "In", tuple(map(str, each.get("values") or ())))
            for each in term.get("matchLabelExpressions") or ()
        )
        for term in body.get("allowedTopologies") or ()
    )
    return Topology(terms, claim) if terms else None


def anywhere(claim: str) -> Topology:
    """A volume that every node reaches, to be narrowed by `held_on`."""
    return Topology(((),), claim)


def _requirements(expressions: Iterable[Mapping[str, Any]] | None) -> Term:
    return tuple(
        Requirement(
            str(each.get("key")),
            str(each.get("operator")),
            tuple(map(str, each.get("values") or ())),
        )
        for each in expressions or ()
    )


def _said(term: Term) -> list[str]:
    said = []
    for each in term:
        word = _WORDS.get(each.key.rpartition("/")[2].rpartition(".")[2], each.key)
        values = "/".join(each.values[:_TOLD]) + ("/…" if len(each.values) > _TOLD else "")
        how = {"In": "", "NotIn": "not ", "Gt": "above ", "Lt": "below "}.get(each.operator)
        said.append(f"{word} {each.operator}" if how is None else f"{how}{word} {values}")
    return list(dict.fromkeys(said))
