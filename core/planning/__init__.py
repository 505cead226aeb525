"""Planning: what a plan would do before it runs, and which plan to choose. Importing this needs no torch."""
