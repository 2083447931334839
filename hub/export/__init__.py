"""What the hub keeps as a zip of JSON, for the person it is about or for another hub; and the way back."""
