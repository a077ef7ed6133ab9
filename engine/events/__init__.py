"""What happened: typed facts, the bus that carries them, and the one picture that is made of them."""
