"""Facts of a model that is small enough for everything: what tests ask about when any model does.

The sizes are those of the first model of `e2e.models`.
"""

from stoker_worker.modelfacts import FULL, Layers, ModelFacts

TINY = ModelFacts(
    digest="sha256:tiny",
    architecture="LlamaForCausalLM",
    model_type="llama",
    dtype="bfloat16",
    hidden=192,
    heads=4,
    vocab=768,
    max_positions=8192,
    layers=(Layers(3, FULL, kv_heads=2, head_dim=64),),
    parameters=1_500_000,
    embedding_parameters=147_456,
    weight_bytes=3_000_000,
    bytes_by_dtype={"BF16": 3_000_000},
    intermediate=576,
    tied_embeddings=True,
)
