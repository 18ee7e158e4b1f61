"""Whatever listens at a port: the dashboard, the numbers for Prometheus."""
