"""`visionbus demo`: the whole system at work, and every answer checked.

`command` is the command; `system` runs the processes, `place` is where their files lie, `verdict` checks what they
stored, `raw` measures ONNX Runtime alone, `progress` and `gallery` show. `child` and `raw` begin processes of
their own, so this module imports nothing.
"""
