"""What several tests use: events, repositories, deployments, pods."""
