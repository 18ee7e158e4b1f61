"""The service's pages: made by the server, they work without a build, a network or a script."""
