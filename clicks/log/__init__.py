"""The click log as numbers: sessions counted, documents numbered, clicks by pair and position.

`distinct` compacts sessions, over all nodes by `distributed`; `click_log` is what models are fitted
to. All of clicks may use this room, other rooms `distinct` alone.
"""
