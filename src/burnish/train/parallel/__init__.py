"""Several processes that train one model: torchrun or Ray starts them, and each runs the same loop on its share.

entry       join the others; the first process leads, and the others enter what it enters
several     what a process gives and gets: shares of rows, sums, what the first one decides
shard       weights, gradients and optimiser state cut into one part a process (FSDP2)
shards      their checkpoint: one safetensors file a process, read again by any number of processes
ulysses     the tokens of a pack cut into parts as well (DeepSpeed-Ulysses)
on_ray      the same on a Ray cluster

Nothing of it but `shards` is imported where one process trains.
"""
