"""Making judge data: pairs with a flawed answer, the difficulty filter, screened traces, and the mix of it all.

Each module is one command of `armlite data`; filter and traces play episodes with a model. The method is that of
ARM-Thinker's section on verifiable preference data; its own code for this was not published, so the rules here are ours
and each module states them.
"""
