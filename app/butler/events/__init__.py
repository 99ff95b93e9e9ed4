"""Parse events: from JSON to dataset refs and dimension records."""
