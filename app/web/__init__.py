"""Pages in Faust's web view."""
