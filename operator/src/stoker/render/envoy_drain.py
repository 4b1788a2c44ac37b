"""How a frontend pod ends without losing a request, inside Envoy itself.

Envoy drops everything on SIGTERM, its image has neither shell nor curl, its admin interface wants
POST, and the kubelet's preStop hook can only GET. So a listener of its own answers
`GET /drain`, the preStop hook, when nothing is in progress any more; the kubelet sends SIGTERM
after the answer. A few lines of Lua do it:

1. Send clients away: answers carry `connection: close`, HTTP/2 gets a GOAWAY. Listeners stay open,
   because clients learn of it late, and readiness stays: where this is the only frontend,
   kube-proxy keeps sending to a pod that ends but serves until another is ready. An unready one
   would leave the address refusing connections for as long as its successor takes to start.
2. Look once a second at the number of requests in progress, held ones included.
3. Answer when the settle time is over and two looks in a row found none, or at the drain limit.

Lua in Envoy has no clock to sleep on. A pause is a call to an internal listener whose only filter
delays every request by a second.
"""

from typing import Any, Final

from stoker.render.envoy_parts import TYPE
from stoker.render.timeouts import Timeouts

PATH_DRAIN: Final = "/drain"
PAUSE: Final = "pause"
ADMIN: Final = "admin"
ACTIVE_STAT: Final = "http.api.downstream_rq_active"

_LUA: Final = """\
local function admin(handle, method, path)
  local _, body = handle:httpCall("admin",
    {[":method"] = method, [":path"] = path, [":authority"] = "admin"}, "", 5000)
  return body or ""
end

local function pause(handle)
  handle:httpCall("pause",
    {[":method"] = "GET", [":path"] = "/", [":authority"] = "pause"}, "", 5000)
end

function envoy_on_request(handle)
  if handle:headers():get(":path") ~= "/drain" then
    handle:respond({[":status"] = "404"}, "")
    return
  end
  admin(handle, "POST", "/drain_listeners?graceful&skip_exit")
  local quiet = 0
  for second = 1, LIMIT do
    pause(handle)
    local stats = admin(handle, "GET", "/stats?filter=^http.api.downstream_rq_active$")
    local active = tonumber(string.match(stats, "downstream_rq_active: (%d+)"))
    quiet = active == 0 and quiet + 1 or 0
    if second >= SETTLE and quiet >= 2 then
      break
    end
  end
  handle:respond({[":status"] = "200"}, "drained\\n")
end
"""


def drain_script(timeouts: Timeouts) -> str:
    """The Lua that answers the preStop hook."""
    limit = round(timeouts.frontend_settle + timeouts.frontend_drain)
    settle = round(timeouts.frontend_settle)
    return _LUA.replace("LIMIT", str(limit)).replace("SETTLE", str(settle))


def pause_filter() -> dict[str, Any]:
    """An HTTP filter that delays each request by a second."""
    return {
        "name": "envoy.filters.http.fault",
        "typed_config": {
            "@type": f"{TYPE}.extensions.filters.http.fault.v3.HTTPFault",
            "delay": {"fixed_delay": "1s", "percentage": {"numerator": 100}},
        },
    }
