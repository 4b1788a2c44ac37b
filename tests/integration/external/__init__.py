"""What other autoscalers ask."""
