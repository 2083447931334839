"""Keeps people, documents and models from doing harm: limits, the operator's word lists, marks on what addresses the model."""
