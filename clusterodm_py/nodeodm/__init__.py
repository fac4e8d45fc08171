"""L2: the client of one NodeODM node. Errors are `NodeTrouble`; their texts never hold a token."""
