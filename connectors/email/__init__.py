"""E-mail: mailboxes read by IMAP, replies sent by SMTP, and everything hostile parsed in a process of its own."""
