"""Report results to people: tables, figures and pages."""
