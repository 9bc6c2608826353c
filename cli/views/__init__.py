"""Functions from answers to text: no I/O, no questions to the fleet."""
