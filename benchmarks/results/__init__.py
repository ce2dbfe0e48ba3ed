"""The figures that training reaches on public data: each row runs its commands, and a page is made of what they gave."""
