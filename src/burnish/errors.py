"""One error tree. Every message names the file, row or setting at fault, and the fix.

    BurnishError                what `burnish` prints as one line before it exits with code 2
    ├── DataError       (ValueError)    a file, a column or a row is not what it must be
    ├── SettingsError   (ValueError)    an unknown setting, a value out of range
    ├── ChatError       (ValueError)    a template or tokenizer that cannot carry a dialogue
    ├── ModelError      (ValueError)    weights that cannot be loaded, trained or saved as asked
    ├── RunError        (RuntimeError)  a run folder that is held, changed, full or read-only
    └── WorkerError     (RuntimeError)  a teacher, judge, annotator or child process that failed

To add a child: subclass `BurnishError` and the builtin it refines, keep the constructor (one message), so that it
pickles across processes. Eight children are the limit; prefer a clearer message to a new class.
"""


class BurnishError(Exception):
    """Root of every error a user can mend."""


class DataError(BurnishError, ValueError):
    """A file, a column or a row is not what it must be."""


class SettingsError(BurnishError, ValueError):
    """A setting is unknown, or its value is out of range."""


class ChatError(BurnishError, ValueError):
    """A chat template or tokenizer cannot carry the dialogue."""


class ModelError(BurnishError, ValueError):
    """Weights cannot be loaded, trained or saved as asked."""


class RunError(BurnishError, RuntimeError):
    """A run folder is held by another process, was changed, is full or read-only."""


class WorkerError(BurnishError, RuntimeError):
    """A teacher, judge, annotator or child process failed."""


class BudgetError(BurnishError, RuntimeError):
    """The tokens or the money set aside are used up; what was paid for is kept."""
