"""What is never cached: looking at the source, choosing settings, promoting, publishing, issuing, monitoring."""
