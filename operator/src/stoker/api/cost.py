"""What a service's cost is compared with."""

from pydantic import Field

from stoker.api.fields import Resource
from stoker.api.optimization import Money


class PublicPrice(Resource):
    """What a public API takes for the same work, in US dollars per million tokens."""

    input: Money = Field(description="For a million tokens of input. Example: '0.15'.")
    output: Money = Field(description="For a million tokens of output. Example: '0.60'.")


class Cost(Resource):
    """What the service's cost is compared with, in metrics and in `stoker cost`."""

    public_price: PublicPrice | None = None
