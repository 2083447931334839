"""Where documents come from beside files and folders: web pages, mailboxes, repositories."""
