"""Search settings on dev: a space of settings, trials that train without a test, an Optuna study, its report."""
