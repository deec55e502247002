"""Tables, figures and one page from results.json files."""
