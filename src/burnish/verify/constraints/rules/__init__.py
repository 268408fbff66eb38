"""How things are counted: pure functions of a text. Nothing here writes texts, draws arguments or knows an id."""
