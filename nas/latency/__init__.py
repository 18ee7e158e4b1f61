"""Where networks run: latency, measured and predicted from a table, and limits of devices."""
