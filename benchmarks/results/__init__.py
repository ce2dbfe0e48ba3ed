"""The figures that training reaches on public data: rows run their commands, and a page is made of them."""
