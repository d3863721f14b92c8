"""Turn predictions into numbers: metrics, their intervals, calibration and comparisons."""
