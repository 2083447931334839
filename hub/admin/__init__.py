"""What operators see and change of people, for every way by which they work; documents are knowledge's."""
