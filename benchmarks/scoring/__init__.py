"""Semivalue estimators against public libraries, and the speed of valuation."""
