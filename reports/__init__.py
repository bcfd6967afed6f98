"""From the results in a store to pages, tables and pictures."""
