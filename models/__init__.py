"""The method as pure code: masks, categories, synthesis, labels. Knows no Redis, HTTP, S3 or settings."""
