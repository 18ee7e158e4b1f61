"""All that knows a Ray head: what is sent to it, submitting, following, stopping."""
