"""The text that a command prints, with the exit status where that is not 0."""


class Answer(str):
    """Text of a command that ends with a status of its own.

    Attributes
    ----------
    status : exit status of the process.
    """

    status: int

    def __new__(cls, text: str, status: int) -> "Answer":
        """Return the text with a status."""
        answer = super().__new__(cls, text)
        answer.status = status
        return answer
