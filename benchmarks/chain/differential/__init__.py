"""Python and Solidity compute the same: payouts and optimiser steps, at random."""
