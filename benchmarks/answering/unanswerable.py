"""Sixty questions that the FAQ of Python's documentation does not answer; each was looked for in its text by hand."""

ABOUT_PYTHON = (
    "How do I parse JSON in Python?",
    "How do I write a decorator that takes arguments?",
    "How do I create a virtual environment?",
    "What is the difference between re.match and re.search?",
    "How do I declare a dataclass with default values?",
    "What is a metaclass?",
    "How do I read a CSV file?",
    "How do I format a date as a string?",
    "How do I parse command line arguments?",
    "How do I set a timeout on a socket?",
    "How do I pretty-print a dictionary?",
    "How do I use async and await?",
    "How do I define an enumeration of colours?",
    "How do I upload my package to PyPI?",
    "How do I measure how much memory a list takes?",
    "What does the yield keyword do?",
    "How do I merge two dictionaries?",
    "How do I find the key with the largest value in a dictionary?",
    "How do I flatten a nested list?",
    "How do I plot a histogram?",
    "How do I train a neural network in Python?",
    "What is the maximum recursion depth?",
    "How do I catch several exceptions in one except clause?",
    "How do I read a password without showing it on the screen?",
    "How do I parse an XML document?",
    "When were f-strings added to Python?",
    "How do I write log messages to a file?",
    "Who is the release manager of Python 3.11?",
    "How do I replace a function by a mock in a test?",
    "How do I run a function every hour?",
)
"""About Python, on topics that lie beside those of the FAQ."""

FALSE_PREMISE = (
    "Why did Python 3 remove the for loop?",
    "Why must every Python statement end with a semicolon?",
    "Why are Python lists limited to 256 elements?",
    "When did Guido van Rossum sell Python to Microsoft?",
    "Why does Python need a Java virtual machine to run?",
    "Why can a Python class have only one method?",
    "Why are Python dictionaries stored in the Windows registry?",
    "How do I renew my yearly Python licence key?",
    "Why did Tkinter become a paid product?",
    "Why does Python delete source files after running them?",
    "Why are Python strings stored as linked lists?",
    "Why can a Python function return only one value?",
    "In which year was the Python Software Foundation closed?",
    "How do I switch Python from indentation to curly braces?",
    "Why do names of Python files have to be in capital letters?",
)
"""About Python, and taking for granted what is not so."""

OFF_TOPIC = (
    "What is the capital of Mongolia?",
    "How long should I boil an egg?",
    "Who won the football world cup in 1998?",
    "How do I change a flat bicycle tyre?",
    "What is the boiling point of mercury?",
    "How tall is the Eiffel Tower?",
    "Which vaccines do I need for a trip to Kenya?",
    "How do I remove a red wine stain from a carpet?",
    "When does the museum open on Sunday?",
    "How much does a train ticket to Lisbon cost?",
    "Who painted the Night Watch?",
    "How do I apply for a passport?",
    "What do pythons eat?",
    "Can I return a jacket without a receipt?",
    "Which side effects does aspirin have?",
)
"""About something else altogether."""

UNANSWERABLE = ABOUT_PYTHON + FALSE_PREMISE + OFF_TOPIC
