"""The methods of the client, one module for each kind of answer."""
