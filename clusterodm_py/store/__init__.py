"""L2: where nodes and tasks are kept, behind the protocols of `store.base`."""
