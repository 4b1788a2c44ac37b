"""Facts and wishes become what runs; a plan that was made stays.

    kept?  ──yes──────────────────────────────► the stored configuration
      │no
    hardware known?  ──no──► without a plan, explicit fields alone
      │yes
    facts?  ──none yet, or never──► nothing new runs; an older revision keeps serving
      │yes
    the planner  ──does not fit──► the same, with the ways out
      │fits
    the plan

Kept is a plan (or the lack of one) whose wishes and whose model are still the same: a new operator,
another price, other hardware in the catalogue restart nothing. What the planner would choose today
is offered instead, where it is better by more than its estimates can err, and taken when the
service's annotation `stoker.dev/accept-plan` names the offer, or says `true` to every one.

What nodes have orders the choices of a plan that is made now, and is kept with it: offers are made
by the same order, so that a node that comes or goes neither replaces a plan nor makes an offer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stoker import naming
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model import reasons
from stoker.model.inventory import Supply
from stoker.model.location import Location
from stoker.model.observed import Observed
from stoker.model.plan import Apply, Delete, Verdict
from stoker.model.platform import Platform
from stoker.model.replica import Replica, Run
from stoker.model.sizing import Configuration, Infeasible, Planned, Request
from stoker.plan import choice, facts, measured, offers, proposals, refusals, revision, staging
from stoker.plan import replica as replicas
from stoker.plan.choice import Question
from stoker.plan.facts import Reading
from stoker.plan.measured import Measured
from stoker.plan.offers import Offer
from stoker.plan.stored import (
    Stored,
    not_honoured,
    planned_status,
    residual,
    stored_in,
    unplanned_status,
)
from stoker.planner.request import digest_of, explicit
from stoker.planner.unplanned import explicit_args
from stoker_worker import modelfacts
from stoker_worker.modelfacts import ModelFacts


@dataclass(frozen=True, slots=True)
class Planning:
    """What became of the plan."""

    status: str  # of the condition Planned: True, False, Unknown
    verdict: Verdict
    # The revision that the spec asks for; None where nothing new may run.
    revision: str | None
    # What one replica of it is; None where that cannot be told (yet).
    replica: Replica | None
    plan: Mapping[str, Any] | None  # status.plan; None: as it was
    reading: Reading | None = None
    offer: Offer | None = None

    @property
    def waits(self) -> Verdict | None:
        """Why nothing new runs, while that is expected to change by itself."""
        return self.verdict if self.revision is None and self.status == "Unknown" else None

    @property
    def problem(self) -> Verdict | None:
        """Why nothing new runs before somebody changes something."""
        return self.verdict if self.revision is None and self.status == "False" else None

    @property
    def writes(self) -> tuple[Apply | Delete, ...]:
        """What is to be done about the facts."""
        return () if self.reading is None else self.reading.writes


def consider(
    observed: Observed,
    spec: InferenceServiceSpec,
    platform: Platform,
    *,
    among: tuple[str, ...] | None = None,
    anew: bool = False,
) -> Planning:
    """The plan of a service whose spec is not refused.

    `among` are the types that may be chosen or offered, all that the spec names by default; `anew`
    plans although there is a plan.
    """
    location = observed.location
    if location is None:
        return Planning("Unknown", facts.nowhere(observed), None, None, None)
    return _Consideration(observed, spec, platform, location, among, anew=anew).decide()


class _Consideration:
    """One service in one pass: what all steps need, and the steps."""

    def __init__(
        self,
        observed: Observed,
        spec: InferenceServiceSpec,
        platform: Platform,
        location: Location,
        among: tuple[str, ...] | None,
        *,
        anew: bool,
    ) -> None:
        service = observed.service
        self._observed = observed
        self._spec = spec
        self._platform = platform
        self._location = location
        self._plain = replicas.replica_of(service.key, spec, platform, location)
        # Without a plan: the plain fields, and the explicit ones as flags.
        wished = explicit_args(Request(**explicit(spec)))
        self._explicit = Run(args=tuple(sorted(wished.items())))
        self._bare = replicas.replica_of(service.key, spec, platform, location, self._explicit)
        self._wishes = digest_of(spec)
        self._stored = stored_in(service.status)
        image = spec.engine.image or platform.engines[spec.engine.name.value].image
        self._engine = measured.engine_of(image)
        self._annotation = service.annotations.get(naming.ANNOTATION_ACCEPT, "")
        self._among = among
        self._anew = anew

    def decide(self) -> Planning:
        found = self._decide()
        if found.replica is None:
            return found
        replica = staging.staged(found.replica, self._spec, found.reading)
        plan = self._observed.service.status.get("plan") if found.plan is None else found.plan
        refused = refusals.refuse(self._spec, self._platform, replica, plan)
        if refused is None:
            return replace(found, replica=replica)
        # As with a plan that does not fit: what runs goes on, and nothing new begins.
        stopped = replace(found, status="False", verdict=refused, replica=None, revision=None)
        return replace(stopped, plan=None, offer=None)

    def _decide(self) -> Planning:
        if self._runs_unplanned():
            return self._keep_unplanned()
        unknown = self._unknown_hardware()
        if unknown is not None:
            return self._unplanned(unknown)
        reading = facts.read(self._observed, self._bare)
        kept = self._kept()
        known = reading.facts
        if known is None and (kept is not None or reading.forbidden):
            known = reading.last  # what runs goes on, while or where they cannot be read again
        if known is None:
            return self._without_facts(reading, kept)
        question = self._question(known)
        if kept is not None and kept.model == known.digest and not self._anew:
            return self._keep(kept, replace(question, supply=kept.supply), reading)
        return self._plan(replace(question, supply=self._supply(question)), reading)

    # What stays.

    def _runs_unplanned(self) -> bool:
        """Whether these wishes were carried out without a plan, by us or by an older operator."""
        last = self._observed.service.status.get("revision")
        if self._stored is None:
            return last == self._revision("")
        return (
            self._stored.spec == self._wishes
            and self._stored.configuration is None
            and last == self._revision(self._stored.revision)
        )

    def _kept(self) -> Stored | None:
        """The stored plan, while these wishes are what it was made for."""
        stored = self._stored
        if stored is None or stored.spec != self._wishes or stored.configuration is None:
            return None
        name = stored.configuration.accelerator
        known = name in self._platform.accelerators and name in self._platform.gpus
        return stored if known else None

    def _keep_unplanned(self) -> Planning:
        unknown = self._unknown_hardware()
        verdict = unknown or facts.told(self._observed, "Unknown", {reasons.FACTS_NOT_ALLOWED})
        verdict = verdict or Verdict(
            reasons.RUNS_UNPLANNED,
            "The service was started without a plan and keeps running so; a change of the spec "
            "plans it",
        )
        factor = "" if self._stored is None else self._stored.revision
        plan = self._unplanned_status(factor)
        reading = None if unknown else facts.read(self._observed, self._bare, ask=False)
        offer = None
        if reading is not None and reading.text is not None:
            question = self._question(modelfacts.from_json(reading.text))
            found = choice.answer(question)
            if isinstance(found, Planned):
                summary = self._summary(question, found)
                offer = offers.offer_of(found, summary, None)
                if offer is not None and offer.accepted_by(self._annotation):
                    return self._plan(question, reading, accepted=offer.id)
                plan["offer"] = offer.status if offer is not None else None
        return Planning(
            "Unknown", verdict, self._revision(factor), self._bare, plan, reading, offer
        )

    def _keep(self, kept: Stored, question: Question, reading: Reading) -> Planning:
        configuration = kept.configuration
        if configuration is None:
            raise AssertionError("a plan is kept by its configuration")
        found = choice.answer(self._limited(question))
        offer = None
        if isinstance(found, Planned) and found.configuration != configuration:
            now = choice.expected_now(question, configuration)
            offer = offers.offer_of(found, self._summary(question, found), now)
            if offer is not None and offer.accepted_by(self._annotation):
                return self._plan(question, reading, accepted=offer.id)
        plan = {name: value for name, value in kept.status.items() if name != "offer"}
        report = residual(plan, measured.reported(self._observed, self._planned(kept.revision)))
        if report is not None:
            plan["residual"] = report
        learned = self._learned(plan, kept, question, configuration)
        plan["measured"] = measured.status_of(learned, self._engine, kept.model)
        plan["proposals"] = proposals.proposed(
            self._observed, self._planned(kept.revision), self._limited(question), configuration
        )
        plan["offer"] = None if offer is None else offer.status
        return Planning(
            "True",
            Verdict(reasons.PLANNED, self._kept_words(kept, reading)),
            self._planned(kept.revision),
            self._replica(choice.run_of(question, configuration)),
            plan,
            reading,
            offer,
        )

    def _kept_words(self, kept: Stored, reading: Reading) -> str:
        said = f"{kept.status.get('summary')}."
        if reading.facts is not None or reading.verdict is None:
            return said
        if reading.failed or reading.forbidden:
            return (
                f"{said} The model could not be read again, so the plan stays. "
                f"{reading.verdict.message}"
            )
        told = facts.told(self._observed, "True")  # of the last look, until this one ends
        return said if told is None else told.message

    # What is new.

    def _without_facts(self, reading: Reading, kept: Stored | None) -> Planning:
        verdict = reading.verdict or Verdict(reasons.READING_MODEL, "")
        if kept is not None and self._same_source(reading):
            # It was planned once; that the facts are read again holds nothing up.
            told = Verdict(reasons.PLANNED, f"{kept.status.get('summary')}.")
            return Planning("True", told, self._planned(kept.revision), None, None, reading)
        if reading.forbidden:
            return replace(self._unplanned(verdict), reading=reading)
        return Planning(
            "False" if reading.failed else "Unknown", verdict, None, None, None, reading
        )

    def _plan(self, question: Question, reading: Reading, accepted: str | None = None) -> Planning:
        found = choice.answer(self._limited(question))
        if isinstance(found, Infeasible):
            return Planning("False", choice.impossible(found), None, None, None, reading)
        run = choice.run_of(question, found.configuration)
        replica = self._replica(run)
        digest = question.model.digest
        changed = self._changed_model(reading, digest)
        factor = revision.plan_factor(run, replica, self._plain, changed)
        summary = replicas.describe(replica)
        plan = planned_status(found, summary, self._wishes, digest)
        if question.supply is not None:
            plan["inputs"]["nodes"] = question.supply.to_json()
        if factor:
            plan["revision"] = factor
        if accepted is not None:
            plan["accepted"] = accepted
        if question.measured:
            plan["measured"] = measured.status_of(question.measured, self._engine, digest)
        verdict = Verdict(reasons.PLANNED, f"{summary}.")
        return Planning("True", verdict, self._planned(factor), replica, plan, reading)

    def _unplanned(self, verdict: Verdict) -> Planning:
        factor = revision.plan_factor(self._explicit, self._bare, self._plain)
        plan = self._unplanned_status(factor)
        return Planning("Unknown", verdict, self._revision(factor), self._bare, plan)

    # Parts.

    def _supply(self, question: Question) -> Supply | None:
        """What nodes have now of the types that may be chosen."""
        inventory = self._observed.inventory
        return None if inventory is None else inventory.supply(question.request.accelerators)

    def _question(self, known: ModelFacts) -> Question:
        """What to ask the planner, with what this service's engines have taught."""
        question = choice.question_of(self._spec, self._platform, modelfacts.to_json(known))
        status, types = self._observed.service.status, question.request.accelerators
        taught = measured.valid(status, self._engine, known.digest, types)
        return replace(question, measured=taught)

    def _limited(self, question: Question) -> Question:
        """The same question of those types that may be chosen now."""
        if self._among is None:
            return question
        return replace(question, request=replace(question.request, accelerators=self._among))

    def _learned(
        self,
        plan: Mapping[str, Any],
        kept: Stored,
        question: Question,
        configuration: Configuration,
    ) -> tuple[Measured, ...]:
        """What is known once the engines of the plan that runs were looked at."""
        name = self._planned(kept.revision)
        if measured.engines_of(self._observed, name) - {self._engine}:
            return question.measured  # an older image runs on, which says nothing of today's
        tokens = measured.reported(self._observed, name)
        kv = None
        if tokens is not None and not_honoured(plan) is None:
            kv = choice.kv_found(question, configuration, tokens)
        seen = [each for each in self._observed.seen if each.revision == name]
        return measured.learn(
            question.measured,
            measured.place(configuration),
            kv,
            [choice.times_found(question, configuration, each) for each in seen],
        )

    def _same_source(self, reading: Reading) -> bool:
        model = self._observed.service.status.get("model")
        return isinstance(model, Mapping) and model.get("source") == reading.source

    def _changed_model(self, reading: Reading, digest: str) -> str:
        """The model, where its files were changed in place: replicas have to load it anew.

        Once it is part of a revision's name it stays so, for as long as the model does.
        """
        stored = self._stored
        if stored is None or not stored.model:
            return ""
        if stored.model == digest:
            return digest if revision.names_model(stored.revision) else ""
        return digest if self._same_source(reading) else ""

    def _unknown_hardware(self) -> Verdict | None:
        names = replicas.types_of(self._spec, self._platform)
        unknown = [name for name in names if name not in self._platform.gpus]
        if not unknown:
            return None
        return Verdict(
            reasons.HARDWARE_UNKNOWN,
            f"Nothing is known of the hardware of {unknown[0]}, so nothing is planned and the "
            "engine decides what the spec leaves open. Name a type of the catalogue in "
            "accelerator.types, or have the administrator describe it in the chart's "
            f"accelerators.{unknown[0]}",
        )

    def _unplanned_status(self, factor: str) -> dict[str, Any]:
        plan = unplanned_status(replicas.describe(self._bare), self._wishes)
        if factor:
            plan["revision"] = factor
        return plan

    def _planned(self, factor: str) -> str:
        return self._revision(factor, decides=True)

    def _revision(self, factor: str, *, decides: bool = False) -> str:
        key = self._observed.service.key
        return revision.revision_of(key, self._spec, self._location, factor, decides=decides)

    def _replica(self, run: Run) -> Replica:
        key = self._observed.service.key
        return replicas.replica_of(key, self._spec, self._platform, self._location, run)

    def _summary(self, question: Question, planned: Planned) -> str:
        return replicas.describe(self._replica(choice.run_of(question, planned.configuration)))
