"""Shows text of strangers on a terminal as what it is: no markup, no colours, no orders to the terminal."""


def printable(text: str) -> str:
    """Replace what a terminal would obey or hide; line feeds and tabs stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else "?" for char in text)


def one_line(text: str) -> str:
    """Give text as one printable line."""
    return printable(text.replace("\n", "?"))
