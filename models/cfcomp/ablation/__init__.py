"""What composition and the local loss do for nano: equal trainings that differ in these alone, and their judge."""
