"""A push at the start of the first request after a quiet time, so that zero wakes at once.

The frontend cannot know how many replicas there are, but it knows silence: a service at zero has
been idle for long, so its first request comes after a pause. That request sends one small call to
the operator and goes on without waiting for its answer; a busy service never sends any. The call
is a hint to look, not a fact: whoever receives it reads the frontend's numbers as always, and a
lost call costs one interval of the poll.
"""

from typing import Any, Final

from stoker.render.envoy_parts import TYPE
from stoker.render.frontend_input import FrontendInput

CLUSTER: Final = "operator"
PATH_NOTIFY: Final = "/notify"
QUIET_S: Final = 5

_LUA: Final = """\
local last = 0

function envoy_on_request(handle)
  if handle:headers():get(":method") ~= "POST" then
    return
  end
  local now = os.time()
  if now - last >= QUIET then
    handle:httpCall("operator", {[":method"] = "POST", [":path"] = "TARGET",
      [":authority"] = "operator"}, "", 1000, true)
  end
  last = now
end
"""


def notify_filter(given: FrontendInput) -> dict[str, Any]:
    """The HTTP filter that makes the call."""
    target = f"{PATH_NOTIFY}/{given.namespace}/{given.service}"
    script = _LUA.replace("QUIET", str(QUIET_S)).replace("TARGET", target)
    return {
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": script},
        },
    }


def notify_cluster(address: str) -> dict[str, Any]:
    """Where the call goes: the operator's Service, host:port."""
    host, _, port = address.rpartition(":")
    return {
        "name": CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "dns_lookup_family": "V4_PREFERRED",
        "respect_dns_ttl": True,
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {
                                "address": {
                                    "socket_address": {"address": host, "port_value": int(port)}
                                }
                            }
                        }
                    ]
                }
            ],
        },
    }
