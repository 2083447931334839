"""Where secrets come from beside variables: files that variables name, folders of files, and HashiCorp Vault."""
