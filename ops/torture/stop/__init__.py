"""Each part that keeps people safe stands still in turn; something else must say so."""
