"""Small programs that make what is committed: pictures and the reference."""
