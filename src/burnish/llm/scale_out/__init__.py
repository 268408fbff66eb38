"""The same requests over a Ray cluster: blocks of items through asynchronous workers, one store in the end.

Comes in: requests, or items and what to do with each. Goes out: what `llm.requests.ask_all` gives, in the same store.
Needs the extra `ray`. See docs/scale_out.md.

    cluster   `ask_on_ray`, `map_on_ray`: the driving process
    worker    one actor and its file of replies
    item      the asker of one item
"""

from burnish.llm.scale_out.cluster import Cluster, Done, ask_on_ray, map_on_ray

__all__ = ["Cluster", "Done", "ask_on_ray", "map_on_ray"]
