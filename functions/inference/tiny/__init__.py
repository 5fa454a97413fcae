"""parley-tiny: the offline demo model, the text it learns from and the program that trains it."""
