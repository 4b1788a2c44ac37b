"""Real parts only: a real kubelet, real engines, and the demo that runs on both."""
