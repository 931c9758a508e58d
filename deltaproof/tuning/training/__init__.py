"""The one training step, the optimisers, a recorded round, and the workbench that all of them compute on."""
