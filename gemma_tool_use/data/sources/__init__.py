"""Forms of dataset: one module per source turns its rows into conversations, `load` finds and reads them."""
