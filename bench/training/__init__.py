"""Parts of `bench/train.py`: material, the two sides, measurement, profile."""
