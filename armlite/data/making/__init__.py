"""Making judge data: pairs with a flawed answer, the difficulty filter, screened traces, and the mix of it all.

Each module is one command of `armlite data`; they play episodes, so this package stands on the level of `evals`, above
the rest of `armlite.data`. The method is that of ARM-Thinker's section on verifiable preference data; its own code for
this was not published, so the rules here are ours and each module states them.
"""
