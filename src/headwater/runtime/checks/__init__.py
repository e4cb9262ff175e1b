"""Quality checks while the project runs: rows set aside, counts kept up to date, epochs stopped."""
