"""How a posterior is approximated: one method per file."""
