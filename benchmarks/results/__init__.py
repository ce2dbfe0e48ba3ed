"""The figures that training reaches on public data: each row runs its own commands, and the page is made of what they gave."""
