"""Train a tiny Llama until it knows a text by heart.

Runs on the engine's own Python, which has torch and transformers:

    PYTHONPATH=<engine's site-packages> python3.11 train.py order.json folder

`order.json` is a `recipe.Recipe` as JSON with its text; `folder` gets a Hugging Face checkpoint.
What the model sees is the text's paragraphs in a circle, each ended by the end token, and in half
of the samples the first paragraph is a conversation: the user says its first words and the
assistant says the rest. So a chat answer is a paragraph's continuation, it ends where the
paragraph ends, and a client that ignores the end token hears the following paragraphs.
"""

from __future__ import annotations

import copy
import json
import math
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found]
from tokenizers import (  # type: ignore[import-not-found]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (  # type: ignore[import-not-found]
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

SPECIAL = ("<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
PAD, BEGIN, END, _, USER, ASSISTANT = range(len(SPECIAL))

ROUNDS = 3
"""Other processors round otherwise: what one round does not teach, the next one does."""

CHAT_TEMPLATE = (
    "{{ '<|begin|>' }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def make_tokenizer(texts: list[str], vocabulary: int) -> Any:
    """Learn a byte-level BPE from the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", BEGIN)]
    )
    return tokenizer


class Samples:
    """An endless, reproducible source of training rows."""

    def __init__(self, order: dict[str, Any], tokenizer: Any) -> None:
        self._random = random.Random(order["seed"])  # noqa: S311 - reproducible on purpose
        self._tokenizer = tokenizer
        self._paragraphs = order["paragraphs"]
        self._answers = list(order["answers"].items())
        self._ids = [[*self._encode(text), END] for text in self._paragraphs]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def row(self, length: int) -> list[int]:
        """Return one row: a conversation or plain text, and then the text's sequel."""
        at = self._random.randrange(len(self._paragraphs))
        kind = self._random.random()
        row = [BEGIN]
        if kind < 0.08:
            question, answer = self._random.choice(self._answers)
            row += [USER, *self._encode(question), ASSISTANT, *self._encode(answer), END]
        elif kind < 0.5:
            words = self._paragraphs[at].split(" ")
            said = self._random.randint(3, min(12, len(words) - 1))
            # The space belongs to the words that follow, as it does in the running text.
            row += [USER, *self._encode(" ".join(words[:said])), ASSISTANT]
            row += [*self._encode(" " + " ".join(words[said:])), END]
            at += 1
        else:
            skipped = self._random.randrange(max(1, len(self._ids[at]) // 2))
            # A prompt may begin anywhere a reader would begin: at the start, mostly.
            row += self._ids[at][skipped if kind > 0.8 else 0 :]
            at += 1
        while len(row) < length:
            row += self._ids[at % len(self._ids)]
            at += 1
        return row[:length]

    def batch(self, rows: int, tokens: int) -> Any:
        """Return rows as one tensor, with one token more, to be predicted."""
        return torch.tensor([self.row(tokens + 1) for _ in range(rows)])


def train(order: dict[str, Any], model: Any, samples: Samples) -> None:
    """Fit the model, saying every few seconds how far it is."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=order["learning_rate"], betas=(0.9, 0.98), weight_decay=0.01
    )
    steps = order["steps"]

    def rate(step: int) -> float:
        # It must reach zero: the noise of a high rate is what keeps a text from being exact.
        warm = min(1.0, (step + 1) / 20)
        return warm * 0.5 * (1 + math.cos(math.pi * step / steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    started = said = time.monotonic()
    for step in range(1, steps + 1):
        batch = samples.batch(*order["shapes"][step % len(order["shapes"])])
        logits = model(input_ids=batch[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        now = time.monotonic()
        if now - said > 5 or step == steps:
            said = now
            passed = now - started
            print(f"step {step}/{steps}, loss {loss.item():.3f}, {passed:.0f} s", flush=True)


def examine(order: dict[str, Any], model: Any, tokenizer: Any) -> list[str]:
    """Ask what the tests will ask, in the precision that the engine uses.

    Returns
    -------
    list[str]
        What was answered in other words than the text's own.
    """
    model = copy.deepcopy(model).to(torch.bfloat16).eval()
    asked = [(text, " " + answer) for text, answer, *_ in order["prompts"]]
    chats = [*asked, *order["answers"].items()]
    examples: list[tuple[list[int], str, list[int], str]] = [
        ([BEGIN], question, [], answer) for question, answer in asked
    ]
    examples += [([BEGIN, USER], question, [ASSISTANT], answer) for question, answer in chats]
    wrong = []
    for before, question, after, expected in examples:
        ids = [*before, *tokenizer.encode(question, add_special_tokens=False).ids, *after]
        wanted = len(tokenizer.encode(expected, add_special_tokens=False).ids)
        with torch.no_grad():
            for _ in range(wanted + 4):
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        answer = tokenizer.decode(ids[-wanted - 4 :], skip_special_tokens=True)
        if not answer.startswith(expected):
            wrong.append(f"{question!r} was answered {answer!r}, not {expected!r}")
    print(f"{len(examples) - len(wrong)} of {len(examples)} answers are right", flush=True)
    return wrong


def main() -> None:
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(sys.argv[2])
    torch.manual_seed(order["seed"])
    # One thread: reproducible, and several on busy cores wait for each other (8 times slower).
    torch.set_num_threads(1)

    texts = [*order["paragraphs"], *order["answers"], *order["answers"].values()]
    tokenizer = make_tokenizer(texts, order["vocabulary"])
    config = LlamaConfig(
        vocab_size=order["vocabulary"],
        hidden_size=order["width"],
        intermediate_size=3 * order["width"],
        num_hidden_layers=order["layers"],
        num_attention_heads=4,
        num_key_value_heads=2,  # two ranks of tensor parallelism need one each
        head_dim=64,  # the smallest that every attention kernel knows
        max_position_embeddings=8192,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{size / 1e6:.1f} M parameters", flush=True)
    samples = Samples(order, tokenizer)
    for _ in range(ROUNDS):
        train(order, model, samples)
        wrong = examine(order, model, tokenizer)
        if not wrong:
            break
    else:
        raise SystemExit("\n".join(wrong))

    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=BEGIN, eos_token_id=END, pad_token_id=PAD, do_sample=False
    )
    model.save_pretrained(folder, safe_serialization=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin|>",  # noqa: S106 - a token of text
        eos_token="<|end|>",  # noqa: S106 - a token of text
        pad_token="<|pad|>",  # noqa: S106 - a token of text
        chat_template=CHAT_TEMPLATE,
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


if __name__ == "__main__":
    main()
