"""The rollout engine of a local model: scheduler, key-value cache, decoder, sampler, vision cache.

`session` is what `armlite.models.local` starts; everything here needs torch.
"""
