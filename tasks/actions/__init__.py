"""Do what is never cached: look at the source, choose settings, promote, publish, issue, monitor."""
