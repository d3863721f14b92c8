"""Plan, train and score a run; read its folder and its result."""
