"""LoRA adapters that the service names, each of them a folder below the model's."""

from collections.abc import Iterable
from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import Technique
from stoker.planner import lora
from stoker.planner.ask import Ask, Decided

NAME: Final = "adapters"
_SHOWN: Final = 4


def refuse(ask: Ask, gpu: Gpu) -> Verdict | None:
    """An adapter that is not there, or whose rank the engine has no room for."""
    del gpu
    ranks = {folder: rank for folder, rank, _ in ask.facts.adapters}
    for each in ask.request.adapters:
        if each.folder not in ranks:
            known = ", ".join(ranks) or "none"
            return Verdict(
                reasons.ADAPTER_NOT_FOUND,
                f"model.adapters: {each.name}: no adapter was found in folder {each.folder} of the "
                f"model; found: {known}. Correct the uri; a folder that was added since the model "
                "was read is seen once the annotation stoker.dev/reread-model gets another value",
            )
        if ranks[each.folder] > lora.RANKS[-1]:
            return Verdict(
                reasons.ADAPTER_RANK_TOO_HIGH,
                f"model.adapters: {each.name}: its rank is {ranks[each.folder]}, and the engine "
                f"takes at most {lora.RANKS[-1]}; merge it into the model's weights, or remove it",
            )
    return None


def explain(ask: Ask, decided: Decided) -> Technique:
    """Those that are served, or those that could be."""
    served = lora.served(ask.facts, decided.configuration)
    if served:
        why = (
            f"{_named((name, rank) for name, rank, _ in served)}: room for rank "
            f"{lora.room_rank(ask.facts, decided.configuration)} takes "
            f"{decided.memory.adapters / 2**20:.0f} MiB per accelerator"
        )
        return Technique(NAME, "on", reasons.AS_ASKED, why)
    found = ask.facts.adapters
    if not found:
        return Technique(NAME, "off", reasons.NOT_NEEDED, "there are none beside the model")
    why = f"found {_named((name, rank) for name, rank, _ in found)}; model.adapters serves them"
    return Technique(NAME, "off", reasons.NOT_NEEDED, why)


def _named(adapters: Iterable[tuple[str, int]]) -> str:
    all_of_them = [f"{name} (rank {rank})" for name, rank in adapters]
    more = len(all_of_them) - _SHOWN
    return ", ".join(all_of_them[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
