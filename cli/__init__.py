"""The console: ``sharedstate-cli``.

`main` finds a command, `commands` ask the fleet, `views` turn answers into text, `context` owns the streams
and settings, `status` owns the exit numbers. Nothing here sends Redis commands: all questions go through
`sharedstate.observe`.
"""
