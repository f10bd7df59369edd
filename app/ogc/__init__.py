"""OGC API - Processes - Part 1: Core 1.0 (OGC 18-062r2): another face of the same jobs."""
