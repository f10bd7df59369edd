"""R-Filter: scores of a picture against its condition, and rules over the stored scores."""
