"""Where a judge runs: vLLM in an actor's own process, or a server of chat completions.

Strategies know `base` alone. `vllm` and `endpoint` are the two choices of the settings, and
`token_spend` counts what a budget has left; the other files are of one engine's own.
"""
