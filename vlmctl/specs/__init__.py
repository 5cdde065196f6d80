"""The records that every room speaks in: what is known (catalog), what is asked, and what is answered."""
