"""`python -m hub`: the command `hubbub`."""

from hub.cli import main

if __name__ == "__main__":
    main()
