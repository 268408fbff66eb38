"""What the command line says of servers: what a run asked of them, and what asking would cost.

Comes in: a run's folder, or the requests of a verb. Goes out: tables and sentences. Called by the commands beside it.

    books       `burnish requests`
    estimates   budgets, and costs before anything is sent
    lost        answers and comparisons that are missing, and why
"""
