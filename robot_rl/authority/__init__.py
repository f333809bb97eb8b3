"""What can be hoped for before anything is learnt: how far each steering interface reaches, and what it could do."""
