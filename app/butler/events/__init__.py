"""From an event's JSON to dataset refs and dimension records."""
