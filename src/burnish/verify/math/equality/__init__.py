"""Whether two shapes are one answer: exact normal forms, evaluation at points, and the rules for units and rounding."""
