"""Deployments, each against a real server; a package, so that its servers end with its last test."""
