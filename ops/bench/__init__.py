"""Benchmarks: figures as ratios within one run where there is something to compare with."""
