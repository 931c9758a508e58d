"""Learning to control a federation: a gymnasium environment in which rounds are really trained, an agent, a comparison.

Training in the environment is real: the project's own training step, codecs, aggregation and evaluation on a small
vision transformer. Devices are simulated: their speeds, memories and channels come from seeded traces
(`tuning/control/devices.py`), and seconds and joules are computed from real bytes and steps with frozen constants.
"""
