"""Jobs, records, queue, storage and the tasks of the worker process. Knows no FastAPI."""
