"""One database: Optuna's tables of studies and trials, and ours of evaluations beside them."""
