"""From predictions to numbers: metrics, their intervals and the scoring protocols."""
