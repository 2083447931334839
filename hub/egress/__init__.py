"""What leaves this machine: one guard for every connection of a process, and the ledger of where they went."""
