"""What one replica is: does it fit, on what, with which techniques, how fast, at what price."""
