"""Shared by several tests: events, repositories, deployments, pods."""
