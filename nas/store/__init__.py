"""One database: Optuna's tables for studies and trials, ours beside them for what a trial means."""
